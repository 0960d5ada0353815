import os
import pickle
import zipfile
from argparse import Namespace

import pytest
import torch
from torch import nn

from dummy_forcing.core.checkpoints.files.pickles import CHOICE_KEY, is_pickle, read_pickle

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}


@pytest.fixture
def saved(tmp_path):
    def write(value):
        path = tmp_path / "model.pt"
        torch.save(value, path)
        return path

    return write


def assert_state(found, prefix=""):
    assert found.keys() == {prefix + name for name in STATE}
    assert all(torch.equal(found[prefix + name], value) for name, value in STATE.items())


@pytest.mark.parametrize(
    ("stored", "prefix"),
    [
        (STATE, ""),
        ({"generator_ema": STATE}, "generator_ema."),
        ({"generator": STATE, "critic": {"c": torch.ones(1)}, "step": 3000}, "generator."),
        ({"generator": {"a": torch.ones(9)}, "generator_ema": STATE}, "generator_ema."),
        ({"generator_ema": {}, "generator": STATE}, "generator."),
        ({"generator_lora": STATE}, "generator_lora."),
        ({"state_dict": {"model": STATE}, "epoch": 1}, "state_dict.model."),
        (STATE | {"step": 7, "config": {"lr": 0.1}}, ""),
    ],
)
def test_containers(saved, stored, prefix):
    assert_state(read_pickle(saved(stored))[0], prefix)


def test_tensors_are_mapped_and_without_gradients(saved):
    found, _ = read_pickle(saved({"w": nn.Parameter(torch.ones(3)), **STATE}))
    assert not any(value.requires_grad for value in found.values())
    assert type(found["w"]) is torch.Tensor


def test_a_container_that_holds_itself(saved):
    loop = {"a": torch.ones(1)}
    loop["model"] = loop
    assert list(read_pickle(saved(loop))[0]) == ["a"]


def layers(seed, prefix="model."):
    return {f"{prefix}blocks.0.modulation": torch.full((2,), float(seed)), f"{prefix}head.bias": torch.ones(2)}


@pytest.mark.parametrize(
    ("stored", "prefix", "choice"),
    [
        ({"ema": layers(1), "step": 3}, "ema.", ""),
        ({"student": layers(1), "critic": layers(2)}, "student.", ""),
        ({"model": layers(2), "model_ema": layers(1)}, "model_ema.", "'model_ema', the average; 'model' beside it"),
        ({"generator": layers(2), "generator_ema": layers(1)}, "generator_ema.", "'generator' beside it"),
        ({"net": layers(2), "ema": {"decay": 0.99, "shadow": layers(1)}}, "ema.shadow.", "'net' beside it"),
        ({"mine": {"inner": layers(1)}, "step": torch.ones(())}, "", "its weights lie in 'mine.inner'"),
        ({"fake_score": layers(2), "real_score": layers(3), "student": layers(1)}, "student.", ""),
        ({"student": layers(2), "averaged_ema": layers(1)}, "", "'averaged_ema', the average; 'student' beside it"),
        ({"model": layers(1), "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, "model.", ""),
        ({"logvar": torch.ones(3), "module": layers(1)}, "module.", ""),
    ],
)
def test_what_is_taken_of_several(saved, caplog, stored, prefix, choice):
    """The average before what it averages, never what is only of the training; said in the log, once."""
    caplog.set_level("INFO", "dummy_forcing")
    found, metadata = read_pickle(saved(stored))
    assert found[f"{prefix}model.blocks.0.modulation"].tolist() == [1, 1]
    assert choice in metadata.get(CHOICE_KEY, "") and bool(choice) == bool(metadata)
    assert caplog.messages == ([f"model.pt: {metadata[CHOICE_KEY]}"] if choice else [])


def test_nothing_but_a_critic(saved, refused):
    with refused("holds only 'critic'", "choose the checkpoint that has the model itself"):
        read_pickle(saved({"critic": layers(1), "step": 7}))


@pytest.mark.parametrize(
    "stored",
    [{}, [], 3, torch.ones(2), {"a": 1}, {1: torch.ones(2)}, {"a": torch.ones(2, 2).to_sparse()},
     {"a": torch.ones(2, device="meta")}],
)  # fmt: skip
def test_no_tensors_by_name(saved, refused, stored):
    with refused("no tensors by name", "model.pt", "choose a checkpoint"):
        read_pickle(saved(stored))


def test_what_is_there_in_place_of_named_tensors(saved, refused):
    with refused("but one tensor [2, 3]; expected the state dict of a model"):
        read_pickle(saved(torch.ones(2, 3)))


class Trap:
    """Makes a folder when it is unpickled the ordinary way."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_is_not_run(tmp_path, saved, refused):
    target = tmp_path / "sprung"
    with refused("more than tensors", "save_file"):
        read_pickle(saved({"a": torch.ones(1), "trap": Trap(target)}))
    assert not target.exists()


def test_a_whole_module_is_refused(saved, refused):
    with refused("more than tensors"):
        read_pickle(saved(nn.Linear(2, 2)))


def test_settings_beside_the_tensors(saved, refused):
    """As many trainers save them: the message names what it is."""
    with refused("holds more than tensors (argparse.Namespace)", "save_file"):
        read_pickle(saved({"model": layers(1), "args": Namespace(lr=0.1)}))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_cut_short(saved, refused, kept):
    path = saved({"a": torch.ones(5000)})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with refused("is cut short", "KiB of it are there", "its download broke off", "download the file again"):
        read_pickle(path)


def test_another_zip_file(tmp_path, refused):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert is_pickle(path)
    with refused("is a zip archive and no PyTorch file", "unpack the archive"):
        read_pickle(path)


@pytest.mark.parametrize("content", [b"\x80\x02}", b"not a pickle", pickle.dumps({"a": 1}, 2)[:-2], b""])
def test_a_damaged_pickle_in_the_zip(tmp_path, saved, refused, content):
    path = tmp_path / "damaged.pt"
    with zipfile.ZipFile(saved(STATE)) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            name = entry.replace("model/", "damaged/")
            target.writestr(name, content if name.endswith("data.pkl") else source.read(entry))
    with refused("damaged.pt"):
        read_pickle(path)
