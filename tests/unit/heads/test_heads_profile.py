import dataclasses
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.profile import HeadProfile, model_fingerprint
from dummy_forcing.core.heads.programming import program_heads


def make_profile(samples=True, **changes):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 3, 5, 4, 6, 3, generator=generator).softmax(-1)
    masses = drawn.mean((0, 1, 2))
    facts = {
        "fingerprint": "0123456789abcdef",
        "shape": {"layers": 4, "heads": 6, "head_dim": 32},
        "prompts": ("a red ball rolls", "\u4e00\u53ea\u732b"),
        "seeds": (0, 7),
        "latent_size": (8, 12),
        "method": {"dummy_ratio": 0.5, "cost": "normalised", "chunk": 1, "row_fraction": 0.25},
        "masses": masses,
        "roles": program_heads(masses, 0.5),
        "samples": drawn if samples else None,
    }
    return HeadProfile(**(facts | changes))


def rewrite(path, *, tensors=None, metadata=None):
    """Save the file again with some tensors or metadata replaced (None removes)."""
    with safe_open(path, "pt") as file:
        found, facts = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118
    kept = {name: value for name, value in (found | (tensors or {})).items() if value is not None}
    save_file(kept, path, {k: v for k, v in (facts | (metadata or {})).items() if v is not None})


@pytest.fixture
def saved(tmp_path):
    make_profile().save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("samples", [True, False])
def test_a_profile_survives_the_file(tmp_path, samples):
    profile, path = make_profile(samples), tmp_path / "p.safetensors"
    profile.save(path)
    loaded = HeadProfile.load(path, fingerprint=profile.fingerprint, shape=(4, 6))
    for field in dataclasses.fields(HeadProfile):
        before, after = getattr(profile, field.name), getattr(loaded, field.name)
        assert after.equal(before) if isinstance(before, torch.Tensor) else after == before, field.name
    assert loaded.masses.dtype == torch.float32
    assert loaded.roles.dtype == torch.int64
    assert os.listdir(tmp_path) == ["p.safetensors"]


def test_saving_replaces_a_file_that_is_loaded(saved):
    loaded = HeadProfile.load(saved)
    make_profile(masses=torch.zeros(4, 6, 3)).save(saved)
    assert loaded.masses.equal(make_profile().masses)
    assert HeadProfile.load(saved).masses.equal(torch.zeros(4, 6, 3))


def test_tensors_are_brought_to_their_dtypes():
    profile = make_profile(
        masses=torch.zeros(4, 6, 3, dtype=torch.float64), roles=torch.zeros(4, 6, dtype=torch.int8)
    )
    assert profile.masses.dtype == torch.float32
    assert profile.roles.dtype == torch.int64


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DummyForcingError, match=r"cannot write .*; choose a folder"):
        make_profile().save(tmp_path / "file" / "p.safetensors")


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "p.safetensors").mkdir()  # cannot be replaced by a file
    with pytest.raises(DummyForcingError, match="cannot write"):
        make_profile().save(tmp_path / "p.safetensors")
    assert os.listdir(tmp_path) == ["p.safetensors"]


def test_facts_that_are_not_json_leave_the_old_profile(saved):
    with pytest.raises(TypeError):
        make_profile(method={"dtype": torch.bfloat16}).save(saved)
    assert HeadProfile.load(saved).method["chunk"] == 1
    assert os.listdir(saved.parent) == [saved.name]


def test_another_model_is_refused_naming_both(saved):
    with pytest.raises(DummyForcingError, match=r"0123456789abcdef.*ffff.*dummy-forcing profile") as error:
        HeadProfile.load(saved, fingerprint="ffff")
    assert "\n" not in str(error.value)


def test_another_shape_is_refused_naming_both(saved):
    with pytest.raises(DummyForcingError, match=r"4 layers x 6 heads.*30 x 12.*dummy-forcing profile"):
        HeadProfile.load(saved, shape=(30, 12))


def test_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(DummyForcingError, match="There is no head profile"):
            HeadProfile.load(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "p.safetensors").write_bytes(content)
    with pytest.raises(DummyForcingError, match="not a readable safetensors"):
        HeadProfile.load(tmp_path / "p.safetensors")


@pytest.mark.parametrize("kept", [4, 100, 1000, -1])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(DummyForcingError, match="not a readable safetensors"):
        HeadProfile.load(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_foreign_safetensors_file_is_refused(tmp_path, metadata):
    save_file({"weight": torch.zeros(2)}, tmp_path / "p.safetensors", metadata)
    with pytest.raises(DummyForcingError, match="is not a head profile"):
        HeadProfile.load(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"version": "2"}, "version 2, this pack reads 1"),
        ({"version": None}, "version None"),
        ({"profile": None}, "damaged"),
        ({"profile": "{"}, "damaged"),
        ({"profile": "[]"}, "damaged"),
        ({"profile": "{}"}, "damaged"),
    ],
)
def test_bad_metadata_is_refused(saved, metadata, message):
    rewrite(saved, metadata=metadata)
    with pytest.raises(DummyForcingError, match=message):
        HeadProfile.load(saved)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"roles": None}, "damaged"),
        ({"roles": torch.zeros(4, 5, dtype=torch.int64)}, "do not fit"),
        ({"roles": torch.zeros(24, dtype=torch.int64)}, "do not fit"),
        ({"roles": torch.full((4, 6), 3)}, "roles must be 0 to 2"),
        ({"roles": torch.full((4, 6), -1)}, "roles must be 0 to 2"),
        ({"roles": torch.zeros(4, 6)}, "expected torch.int64"),
        ({"masses": torch.zeros(4, 6, 2)}, "do not fit"),
        ({"masses": torch.zeros(4, 6, 3, dtype=torch.int32)}, "expected torch.float32"),
        ({"samples": torch.zeros(2, 3, 5, 4, 5, 3)}, "do not fit"),
        ({"samples": torch.zeros(5, 4, 6, 3)}, "do not fit"),
    ],
)
def test_bad_tensors_are_refused(saved, tensors, message):
    rewrite(saved, tensors=tensors)
    with pytest.raises(DummyForcingError, match=message) as error:
        HeadProfile.load(saved)
    assert "dummy-forcing profile" in str(error.value)


def vectors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {f"blocks.{i}.modulation": torch.randn(1, 6, 128, generator=generator) for i in range(3)}


def test_fingerprint_survives_a_cast_to_bf16_and_any_order():
    shape, fp32 = {"layers": 3, "dim": 128}, vectors()
    bf16 = {name: fp32[name].bfloat16() for name in reversed(fp32)}
    fingerprint = model_fingerprint(shape, fp32)
    assert fingerprint == model_fingerprint(dict(reversed(shape.items())), bf16)
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0


def test_fingerprint_is_fixed_across_versions():
    """Profiles on users' disks hold it: this number must not change."""
    assert model_fingerprint({"layers": 1}, {"v": torch.tensor([1.0, -2.0])}) == "5a40c11970095c94"


def test_fingerprint_tells_models_apart():
    shape, one = {"layers": 3}, vectors()
    renamed = {f"x.{name}": value for name, value in one.items()}
    reshaped = {name: value.view(6, 128) for name, value in one.items()}
    nudged = one | {"blocks.1.modulation": one["blocks.1.modulation"] * 1.02}
    others = [vectors(1), renamed, reshaped, nudged, {}]
    prints = [model_fingerprint(shape, each) for each in [one, *others]]
    prints.append(model_fingerprint({"layers": 4}, one))
    assert len(set(prints)) == len(prints)


def test_fingerprint_takes_strided_and_scalar_vectors():
    value = torch.arange(6.0).view(2, 3)
    assert model_fingerprint({}, {"v": value.T}) == model_fingerprint({}, {"v": value.T.contiguous()})
    model_fingerprint({}, {"v": torch.tensor(1.0)})
