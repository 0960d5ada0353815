"""LoRAs that a model needs, once, and no other's."""

import pytest
import torch
from published_layouts import PUBLISHED, SHAPE, backbone_state, lora_state, prefixed, raven_lora
from safetensors.torch import save_file

from dummy_forcing.core.checkpoints.families.table import family
from dummy_forcing.core.checkpoints.lora.lora_rules import LORA_KEY, merged_already, read_lora
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.checkpoints.opened import open_backbone


@pytest.fixture(scope="module")
def state():
    return backbone_state()


@pytest.fixture
def write(tmp_path, state):
    """Writes the file of PUBLISHED with that name; returns its path and its LoRA's."""

    def run(file, lora=None):
        found = next(each for each in PUBLISHED if (each.file, (each.lora or (None,))[0]) == (file, lora))
        return found.save(tmp_path, tmp_path, state)

    return run


@pytest.fixture
def save_lora(tmp_path):
    def run(tensors, name):
        save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / name)
        return tmp_path / name

    return run


LONGLIVE = ("longlive_base.pt", "lora.pt")


@pytest.mark.parametrize(
    ("name", "container", "whose"),
    [
        ("lora.pt", "generator_lora.base_model.model.", "longlive"),
        ("longlive_lora.safetensors", "", "longlive"),
        ("LongLive-1.3B/models/lora.safetensors", "base_model.model.", "longlive"),
        ("MemFlow/lora.pt", "generator_lora.base_model.model.", "memflow"),
        ("cmgrpo_raven_lora.safetensors", "base_model.model.", "raven"),
        ("style.safetensors", "diffusion_model.", None),
    ],
)
def test_whose_a_lora_is(state, name, container, whose):
    found = read_lora(prefixed(lora_state(state), container), SHAPE, name, "it")
    assert (found.belongs_to, found.changes_all) == (whose, True)


def test_a_lora_of_some_layers_is_nobodys(state):
    some = {name: value for name, value in lora_state(state).items() if ".ffn." not in name}
    found = read_lora(some, SHAPE, "longlive_lora.safetensors", "it")
    assert (found.belongs_to, found.changes_all) == (None, False)


def test_a_base_without_its_lora(write, refused):
    path, _ = write(*LONGLIVE)
    with refused("only the base of LongLive", "'lora.pt'", "Efficient-Large-Model/LongLive-1.3B", "'merged'"):
        open_checkpoint(path)
    with refused("only the base of LongLive"):
        open_checkpoint(path, family="longlive")


def test_a_file_whose_name_says_that_it_is_merged(write):
    path, _ = write(*LONGLIVE)
    path = path.rename(path.with_name("longlive_merged.pt"))
    assert open_backbone(path).merged == "its name says that it is merged"


def test_a_merged_model_and_its_lora(write, refused):
    path, lora = write(*LONGLIVE)
    path = path.rename(path.with_name("longlive_merged.pt"))
    with refused("'lora.pt' would apply it twice", "leave the LoRA out"):
        open_checkpoint(path, lora=lora)


@pytest.mark.parametrize("file", ["cmgrpo_raven_merge.pt", "cmgrpo_raven_full.pt"])
def test_raven_merged_or_wrapped_and_its_lora(write, refused, file):
    _, lora = write("raven_model.pt", "cmgrpo_raven_lora.safetensors")
    with refused("would apply it twice"):
        open_checkpoint(write(file)[0], lora=lora)


def test_a_style_on_a_merged_model(write, save_lora, state):
    style = {name: value for name, value in lora_state(state).items() if ".ffn." in name}
    lora = save_lora(prefixed(style, "diffusion_model."), "style.safetensors")
    opened = open_backbone(write("cmgrpo_raven_merge.pt")[0], lora=lora)
    assert (opened.lora.belongs_to, opened.merged) == (None, "its name says that it is merged")


def test_another_lora_than_the_needed_one(write, save_lora, state, refused):
    style = {name: value for name, value in lora_state(state).items() if ".ffn." in name}
    path, _ = write(*LONGLIVE)
    with refused("LongLive needs its own LoRA, 'lora.pt'", "'style.safetensors' is another"):
        open_checkpoint(path, lora=save_lora(style, "style.safetensors"))
    with refused("belongs to raven and not to LongLive"):
        open_checkpoint(path, lora=save_lora(raven_lora(state), "cmgrpo_raven_lora.safetensors"))


def test_the_lora_of_another_model(write, refused):
    _, lora = write(*LONGLIVE)
    with refused("'lora.pt' belongs to longlive and not to Self-Forcing", "choose another LoRA"):
        open_checkpoint(write("self_forcing_dmd.pt")[0], lora=lora)


def test_the_lora_of_a_larger_model(write, save_lora, refused):
    parts = {
        "blocks.0.ffn.0.lora_A.weight": torch.ones(2, 5120),
        "blocks.0.ffn.0.lora_B.weight": torch.ones(13824, 2),
    }
    with refused("does not fit this model", "[2, 5120]"):
        open_checkpoint(write("self_forcing_dmd.pt")[0], lora=save_lora(parts, "style.safetensors"))


def test_a_model_as_lora_and_a_lora_as_model(write, refused):
    path, lora = write(*LONGLIVE)
    with refused("is not a LoRA", "choose a LoRA"):
        open_checkpoint(path, lora=path)
    with refused("is a LoRA and not a model", "choose this file as its LoRA"):
        open_checkpoint(lora)


def test_a_lora_cut_short(write, refused):
    path, lora = write(*LONGLIVE)
    lora.write_bytes(lora.read_bytes()[:-5000])
    with refused("lora.pt", "is cut short", "download the file again"):
        open_checkpoint(path, lora=lora)


def test_what_says_that_it_is_merged():
    longlive, raven = family("longlive"), family("raven")
    assert merged_already(longlive, "longlive_base.pt", {}, wrapped=False) is None
    assert merged_already(longlive, "x.pt", {LORA_KEY: "lora.pt"}, wrapped=False)
    assert merged_already(raven, "x.pt", {}, wrapped=True)
    assert merged_already(raven, "emerged.pt", {}, wrapped=False) is None
