import json
import os

import pytest
import torch
from safetensors.torch import load_file

from dummy_forcing.core.checkpoints.files.checkpoint_files import (
    checkpoint_files,
    find_vaes,
    read_checkpoint,
    read_tensors,
    tensor_names,
)

PARTS = ({"a": torch.arange(3.0), "b": torch.ones(2, 2)}, {"c": torch.full((1,), 7.0)})
WHOLE = PARTS[0] | PARTS[1]


def write_index(folder, *names, name="model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"weight_map": {str(i): shard for i, shard in enumerate(names)}}))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_gives_its_tensors_and_metadata(save):
    path = save(WHOLE, metadata={"config": "{}"})
    tensors, metadata = read_tensors(path)
    assert_same(tensors, load_file(path))
    assert metadata == {"config": "{}"}
    assert tensor_names(path) == set(WHOLE)


def test_a_file_without_metadata(save):
    assert read_tensors(save(WHOLE, metadata=None))[1] == {}


@pytest.mark.parametrize("read", [read_tensors, tensor_names])
def test_no_such_file(tmp_path, refused, read):
    with refused("there is no file", "check the path"):
        read(tmp_path / "none.safetensors")


def test_a_folder_is_no_file(tmp_path, refused):
    with refused("is a folder", "choose a .safetensors file"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("kept", [100, -1])
def test_a_file_cut_short(save, refused, kept):
    path = save(WHOLE)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:kept])
    there = f"{path.stat().st_size} B of" + (f" {whole} B are there" if kept < 0 else "")
    with refused(f"is cut short: {there}", "download the file again"):
        read_tensors(path)


def test_a_pytorch_file(tmp_path):
    torch.save(WHOLE, tmp_path / "model.pt")
    tensors, metadata = read_tensors(tmp_path / "model.pt")
    assert_same(tensors, WHOLE)
    assert metadata == {}


def test_a_pytorch_file_of_the_old_kind(tmp_path, refused):
    path = tmp_path / "model.pt"
    torch.save(WHOLE, path, _use_new_zipfile_serialization=False)
    with refused("can run code when opened", "save_file"):
        read_tensors(path)


def test_a_pytorch_file_with_the_wrong_ending(tmp_path, refused):
    torch.save(WHOLE, tmp_path / "model.safetensors")
    for read, path in ((read_checkpoint, tmp_path), (read_tensors, tmp_path / "model.safetensors")):
        with refused("in spite of its name", ".pt"):
            read(path)


PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in to read this repository</body></html>"


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.ckpt"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty (0 bytes)", "its download failed", "download the file again"]),
        (bytes(4096), ["nothing but zeros (4.0 KiB)", "its download is not finished", "download the file again"]),
        (PAGE, [f"is a web page ({len(PAGE)} B)", "its download failed", "log in", "download the file again"]),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", ["is a web page", "download the file again"]),
        (
            b"Entry not found",
            ["is a text (15 B, 'Entry not found')", "if it was downloaded, download the file again"],
        ),
        ("\u4f60\u597d\n".encode() * 99, ["is a text (693 B", "\u4f60\u597d"]),
        (b'{"error": "Access to model is restricted"}', ["is a text (42 B", "Access to model"]),
        (b"short\x00\x01", ["is no file of tensors", "choose a .safetensors or .pt file"]),
        (b"GGUF" + bytes(60), ["GGUF", "choose a safetensors version"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ["git lfs pull"]),
        (b"\x93NUMPY\x01\x00v\x00", ["is a NumPy file", "torch.from_numpy"]),
    ],
)
def test_other_formats(tmp_path, refused, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with refused(str(path), *words):
        read_tensors(path)


def test_a_file_with_more_at_its_end(save, refused):
    path = save(WHOLE)
    path.write_bytes(path.read_bytes() + b"more")
    with refused("is a damaged safetensors file", "download the file again"):
        read_tensors(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(save, refused):
    path = save(WHOLE)
    path.chmod(0)
    with refused("cannot read", "permissions"):
        read_tensors(path)


@pytest.mark.parametrize("indexed", [True, False])
def test_shards_are_merged(tmp_path, save, indexed):
    save(PARTS[0], "part-1.safetensors", {"config": "{}", "part": "1"})
    save(PARTS[1], "part-2.safetensors", {"part": "2", "more": "x"})
    save(WHOLE, "._part-1.safetensors")
    if indexed:
        save(WHOLE, "other_model.safetensors")
        write_index(tmp_path, "part-1.safetensors", "part-2.safetensors", "part-1.safetensors")
    tensors, metadata = read_checkpoint(tmp_path)
    assert_same(tensors, WHOLE)
    assert metadata == {"config": "{}", "part": "1", "more": "x"}


def test_a_vae_is_told_by_its_tensors(tmp_path, save, vae_file, tiny_vae):
    save({f"model.{name}": value for name, value in tiny_vae.state_dict().items()}, "wrapped.safetensors")
    save(WHOLE, "my_vae.safetensors")
    assert [path.name for path in find_vaes(tmp_path)] == [vae_file.name, "wrapped.safetensors"]
    assert_same(read_checkpoint(tmp_path)[0], WHOLE)


def test_a_tensor_in_two_files(tmp_path, save, refused):
    save(PARTS[0], "one.safetensors")
    save({"b": PARTS[0]["b"]}, "two.safetensors")
    with refused("'b' is in both one.safetensors and two.safetensors"):
        read_checkpoint(tmp_path)


def test_a_folder_with_nothing_to_read(tmp_path, vae_file, refused):
    with refused("no .safetensors file with a backbone"):
        read_checkpoint(tmp_path)
    with refused("there is no file"):
        read_checkpoint(tmp_path / "none")


def test_a_shard_is_missing(tmp_path, save, refused):
    save(PARTS[0], "part-1.safetensors")
    write_index(tmp_path, "part-1.safetensors", "part-2.safetensors")
    with refused(f"{tmp_path} lacks part-2.safetensors of the 2 shards", "into the same folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/secret.safetensors", "sub/a.safetensors", "a\\b.safetensors",
     "C:x.safetensors", "..", "", "model.pt", 3, None, ["x"]],
)  # fmt: skip
def test_an_index_stays_in_its_folder(tmp_path, save, refused, name):
    save(WHOLE, "inner/model.safetensors")
    save(WHOLE, "secret.safetensors")
    write_index(tmp_path / "inner", name)
    with refused("model.safetensors.index.json", "download the file again"):
        read_checkpoint(tmp_path / "inner")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\udcff"])
def test_an_index_that_is_none(tmp_path, refused, text):
    (tmp_path / "m.safetensors.index.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with refused("m.safetensors.index.json", "download"):
        read_checkpoint(tmp_path)


def test_two_indices(tmp_path, refused):
    write_index(tmp_path, "a.safetensors")
    write_index(tmp_path, "b.safetensors", name="other.safetensors.index.json")
    with refused("several checkpoints"):
        read_checkpoint(tmp_path)


def shard(number, count=2, stem="model"):
    return f"{stem}-{number:05}-of-{count:05}.safetensors"


@pytest.mark.parametrize("indexed", [True, False])
def test_any_shard_stands_for_all(tmp_path, save, indexed):
    save(PARTS[0], shard(1))
    save(PARTS[1], shard(2))
    save(WHOLE, shard(1, 2, "other"))
    save(WHOLE, "alone.safetensors")
    (tmp_path / "broken.safetensors.index.json").write_text("{")
    if indexed:
        write_index(tmp_path, shard(1), shard(2))
        assert_same(read_checkpoint(tmp_path / "model.safetensors.index.json")[0], WHOLE)
    for number in (1, 2):
        path = tmp_path / shard(number)
        assert checkpoint_files(path) == [tmp_path / shard(1), tmp_path / shard(2)]
        assert_same(read_checkpoint(path)[0], WHOLE)
    assert checkpoint_files(tmp_path / "alone.safetensors") == [tmp_path / "alone.safetensors"]


def test_shards_of_any_name_are_those_of_the_index(tmp_path, save):
    save(PARTS[0], "a.safetensors")
    save(PARTS[1], "b.safetensors")
    assert checkpoint_files(tmp_path / "b.safetensors") == [tmp_path / "b.safetensors"]
    write_index(tmp_path, "a.safetensors", "b.safetensors")
    assert_same(read_checkpoint(tmp_path / "b.safetensors")[0], WHOLE)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_missing_shard_of_a_chosen_one(tmp_path, save, refused, indexed):
    save(PARTS[0], shard(1))
    if indexed:
        write_index(tmp_path, shard(1), shard(2))
    for path in (tmp_path, tmp_path / shard(1)):
        with refused(f"{tmp_path} lacks {shard(2)} of the 2 shards", "download what is missing"):
            read_checkpoint(path)


def test_many_missing_shards(tmp_path, save, refused):
    save(PARTS[0], shard(2, 7))
    with refused(f"lacks {shard(1, 7)}, {shard(3, 7)}, {shard(4, 7)} and 3 more of the 7 shards"):
        read_checkpoint(tmp_path)


def test_shards_of_pytorch_files(tmp_path, refused):
    for number, part in enumerate(PARTS, 1):
        torch.save(part, tmp_path / f"pytorch_model-0000{number}-of-00002.bin")
    assert_same(read_checkpoint(tmp_path / "pytorch_model-00002-of-00002.bin")[0], WHOLE)
    (tmp_path / "pytorch_model-00001-of-00002.bin").unlink()
    with refused("lacks pytorch_model-00001-of-00002.bin of the 2 shards"):
        read_checkpoint(tmp_path / "pytorch_model-00002-of-00002.bin")


def test_a_shard_cut_short(tmp_path, save, refused):
    save(PARTS[0], shard(1))
    path = save(PARTS[1], shard(2))
    path.write_bytes(path.read_bytes()[:-2])
    with refused(shard(2), "cut short", "download the file again"):
        read_checkpoint(tmp_path / shard(1))


def test_a_name_that_counts_to_the_moon(tmp_path, save, refused):
    path = save(WHOLE, f"model-1-of-{10**12}.safetensors")
    with refused("shards", "download what is missing"):
        read_checkpoint(path)
