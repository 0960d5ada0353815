import dataclasses

import pytest

from dummy_forcing.core.checkpoints.detect import detect_family
from dummy_forcing.core.wan.shape import WAN_1_3B
from dummy_forcing.core.world.vocabulary import TEXT_DIM

KEY = "head.modulation"


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("self_forcing_dmd.pt", "self-forcing"),
        ("Self-Forcing/checkpoints/self_forcing_sid_v2.pt", "self-forcing"),
        ("wan2.1-t2v-1.3B-SelfForcing.safetensors", "self-forcing"),
        ("causal_forcing-framewise.safetensors", "causal-forcing-framewise"),
        ("framewise/causal_forcing.pt", "causal-forcing-framewise"),
        ("Causal-Forcing\\chunkwise\\causal_forcing.pt", "causal-forcing"),
        ("CausalForcing_chunk_wise.ckpt", "causal-forcing"),
    ],
)
def test_names_of_files(file, family):
    found = detect_family(file, [KEY], WAN_1_3B)
    assert found.family.name == family
    assert found.reason == f"the file name {file!r} says so"


@pytest.mark.parametrize(
    ("key", "family"),
    [
        (f"generator_ema.model._fsdp_wrapped_module.{KEY}", "causal-forcing-framewise"),
        (f"generator.model.{KEY}", "causal-forcing"),
    ],
)
def test_two_models_with_one_file_name_are_told_by_their_wrapping(key, family):
    found = detect_family("causal_forcing.pt", [key], WAN_1_3B)
    assert found.family.name == family
    assert "wrapped as in the" in found.reason


@pytest.mark.parametrize("file", ["causal_forcing.safetensors", "causal_forcing_chunkwise_or_framewise.pt"])
def test_causal_forcing_that_cannot_be_told(refused, file):
    with refused(file, "by hand: causal-forcing or causal-forcing-framewise"):
        detect_family(file, [KEY], WAN_1_3B)


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("longlive_base.pt", "LongLive"),
        ("LongLive-1.3B/models/model.safetensors", "LongLive"),
        ("rolling_forcing_dmd.pt", "Rolling Forcing"),
        ("krea-realtime-video-14b.safetensors", "Krea Realtime"),
        ("CausVid/autoregressive_checkpoint/model.pt", "CausVid"),
        ("cmgrpo_raven_merge.pt", "RAVEN"),
        ("rewardforcing.pt", "Reward-Forcing"),
        ("Self_Gradient_Forcing/chunkwise/model.pt", "Self Gradient Forcing"),
        ("causal-forcing++/framewise-2step.pt", "Causal Forcing++"),
        ("framewise-1step.pt", "Causal Forcing++"),
        ("chunkwise/longvideo.pt", "for long videos"),
        ("Self-Forcing/ode_init.pt", "stage of training"),
        ("Causal-Forcing/chunkwise/ar_diffusion.pt", "stage of training"),
    ],
)
def test_known_but_not_supported(refused, file, title):
    with refused(repr(file), title, "this version does not have", "(self-forcing, causal-forcing, "):
        detect_family(file, [KEY], WAN_1_3B)


@pytest.mark.parametrize("file", ["wan2.1_t2v_1.3B_fp16.safetensors", "Wan2_1-T2V-14B.safetensors", "wan21.pt"])
def test_an_ordinary_wan(refused, file):
    with refused(file, "ordinary Wan model and not autoregressive", "by hand"):
        detect_family(file, [KEY], WAN_1_3B)


@pytest.mark.parametrize("file", ["model.pt", "v1.0/thing", "", "swan21.pt", "2steps.pt"])
def test_unknown_files(refused, file):
    with refused("cannot tell", repr(file), "by hand (self-forcing, "):
        detect_family(file, [], WAN_1_3B)


def test_the_toy_world_is_told_by_its_text():
    found = detect_family("anything.pt", [], dataclasses.replace(WAN_1_3B, text_dim=TEXT_DIM))
    assert found.family.name == "toy-world"
    assert "16 channels" in found.reason
