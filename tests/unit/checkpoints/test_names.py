import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.checkpoints.layouts.wrapped_names import (
    backbone_part,
    bare_name,
    bare_names,
    check_names,
    looks_like_vae,
)

NAME = "blocks.0.self_attn.q.weight"


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        f"model.{NAME}",
        f"net.{NAME}",
        f"module.{NAME}",
        f"diffusion_model.{NAME}",
        f"model.diffusion_model.{NAME}",
        f"_orig_mod.{NAME}",
        f"model._fsdp_wrapped_module.{NAME}",
        f"module._orig_mod.model.{NAME}",
        f"generator_ema.model._fsdp_wrapped_module.{NAME}",
        f"state_dict.generator.model.{NAME}",
        f"base_model.model.{NAME}",
        "model._fsdp_wrapped_module.blocks.0._fsdp_wrapped_module._checkpoint_wrapped_module.self_attn.q.weight",
    ],
)
def test_wrappers_come_off(name):
    assert bare_name(name) == NAME


@given(st.lists(st.sampled_from(["model", "net", "module", "_orig_mod", "blocks", "0", "weight"]), min_size=1))
def test_stripping_twice_is_stripping_once(parts):
    bare = bare_name(".".join(parts))
    assert bare_name(bare) == bare


def test_values_keep_their_names():
    assert bare_names({"model.a.x": 1, "net.b": 2, "c": 3}) == {"a.x": 1, "b": 2, "c": 3}


def test_two_copies_of_the_model(refused):
    with refused("'model.a.x'", "'a.x'", "two copies"):
        bare_names({"model.a.x": 1, "a.x": 2})


def test_the_backbone_of_an_all_in_one_checkpoint():
    parts = {"model.diffusion_model.a": 1, "vae.a": 2, "text_encoders.a": 3, "first_stage_model.a": 4}
    assert backbone_part(parts) == {"model.diffusion_model.a": 1}
    alone = {"a": 1, "model.b": 2}
    assert backbone_part(alone) == alone


def test_the_right_names_pass():
    check_names({"b": 1, "a": 2}, ["a", "b"], "it")


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        ("a", "ab", ["it lacks 'b';", "complete and unchanged checkpoint"]),
        ("abc", "ab", ["it has unexpected 'c';"]),
        ("xy", "ab", ["it lacks 'a', 'b' and has unexpected 'x', 'y';"]),
        ("vwxyz", "abcd", ["'a', 'b', 'c' and 1 more", "'v', 'w', 'x' and 2 more"]),
        (["odd\nname"], [], ["odd\\nname"]),
    ],
)
def test_wrong_names_are_listed(refused, found, expected, words):
    with refused(*words):
        check_names(list(found), list(expected), "it")


def test_a_backbone_is_no_vae(golden_state, tiny_vae):
    assert looks_like_vae(tiny_vae.state_dict())
    assert not looks_like_vae(golden_state)
