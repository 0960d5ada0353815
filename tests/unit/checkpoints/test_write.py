import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from dummy_forcing.core.checkpoints.files.write import write_tensors

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.ones(3, dtype=torch.bfloat16),
    "scalar": torch.tensor(7),
    "empty": torch.ones(0, 4),
    "flag": torch.tensor([True, False]),
    "packed": torch.arange(5, dtype=torch.uint8),
    "small": torch.ones(2, 2).to(torch.float8_e4m3fn),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}


def write(path, tensors, metadata=None):
    entries = {name: (value.dtype, value.shape) for name, value in tensors.items()}
    write_tensors(path, entries, tensors.__getitem__, metadata or {"format": "pt"})


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    write(path, TENSORS, {"format": "pt", "config": '{"ä": 1}'})
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name].float(), value.float())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "config": '{"ä": 1}'}


def test_the_data_are_those_of_the_library(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {"b": TENSORS["b"], "a": TENSORS["a"]}
    write(path, tensors)
    ours, theirs = path.read_bytes(), save(tensors)
    end = [8 + int.from_bytes(each[:8], "little") for each in (ours, theirs)]
    assert ours[end[0] :] == theirs[end[1] :]
    assert end[0] % 8 == 0


def test_tensors_are_made_one_at_a_time(tmp_path):
    made = []

    def make(name):
        made.append(name)
        return TENSORS[name]

    entries = {name: (value.dtype, value.shape) for name, value in TENSORS.items()}
    write_tensors(tmp_path / "x.safetensors", entries, make, {})
    assert sorted(made) == sorted(TENSORS)
    assert all(torch.equal(value.float(), value.float()) for value in TENSORS.values())
    assert torch.equal(TENSORS["b"], torch.arange(6.0).reshape(2, 3))  # memory of our own is left alone


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    entries = {"a": (torch.float32, torch.Size([2]))}
    with pytest.raises(ValueError, match="announced"):
        write_tensors(tmp_path / "sub" / "x.safetensors", entries, lambda name: torch.ones(3), {})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path, refused):
    with refused("complex64", "--dtype"):
        write(tmp_path / "x.safetensors", {"a": torch.ones(1, dtype=torch.complex64)})
    (tmp_path / "file").touch()
    with refused("cannot write", "choose a folder"):
        write(tmp_path / "file" / "x.safetensors", TENSORS)
