import dataclasses

import pytest

from dummy_forcing.core.checkpoints.families.detect_family import FAMILY_KEY, choose_family, detect_family
from dummy_forcing.core.checkpoints.families.table import FAMILIES
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
        ("causal-forcing++/framewise-2step.pt", "causal-forcing-2step"),
        ("framewise-1step.pt", "causal-forcing-1step"),
        ("chunkwise/longvideo.pt", "causal-forcing-longvideo"),
        ("longlive_base.pt", "longlive"),
        ("LongLive-1.3B/models/model.safetensors", "longlive"),
        ("rolling_forcing_dmd.pt", "rolling-forcing"),
        ("krea-realtime-video-14b.safetensors", "krea-realtime-14b"),
        ("CausVid/autoregressive_checkpoint/model.pt", "causvid"),
        ("CausVid/autoregressive_checkpoint_warp_4step_cfg2/model.pt", "causvid-4step"),
        ("cmgrpo_raven_merge.pt", "raven"),
        ("rewardforcing.pt", "reward-forcing"),
        ("Infinite-Forcing/ema_model.pt", "infinity-rope"),
        ("Causal_rCM_Wan2.1_T2V_1.3B_480p_sfdmd_c3-3.pt", "causal-rcm"),
        ("Causal_rCM_Wan2.1_T2V_1.3B_480p_sfdmd_c1-1.pt", "causal-rcm-framewise"),
        ("Self_Gradient_Forcing/chunkwise/ar/model.pt", "self-gradient-forcing"),
        ("Self_Gradient_Forcing/framewise/ar/model.pt", "self-gradient-forcing-framewise"),
    ],
)
def test_names_of_files(file, family):
    found = detect_family(file, [KEY], WAN_1_3B)
    assert found.family.name == family
    assert found.reason == f"the file name {file!r} says so"


def test_every_family_that_has_a_file_is_told_by_its_published_name():
    for row in FAMILIES.values():
        if row.name not in ("toy-world", "infinity-rope"):
            file = "/".join(row.source.replace("*", "sfdmd").split(", "))
            assert detect_family(file, [KEY], WAN_1_3B).family is row


def test_what_convert_wrote_goes_first():
    found = detect_family("self_forcing.safetensors", [KEY], WAN_1_3B, {FAMILY_KEY: "causvid"})
    assert (found.family.name, found.reason) == ("causvid", "the file's metadata says so")
    found = detect_family("self_forcing.safetensors", [KEY], WAN_1_3B, {FAMILY_KEY: "of another version"})
    assert found.family.name == "self-forcing"


@pytest.mark.parametrize(
    ("file", "names", "family"),
    [
        ("c3-3.pt", ["net.accum_iteration"], "causal-rcm"),
        ("x_c1-1.pt", ["net.accum_iteration"], "causal-rcm-framewise"),
        ("full.pt", ["base_model.model.text_embedding.0.base_layer.weight"], "raven"),
    ],
)
def test_layouts(file, names, family):
    assert detect_family(file, names, WAN_1_3B).family.name == family


@pytest.mark.parametrize(
    ("file", "names", "families"),
    [
        ("model.pt", ["net.accum_iteration"], "causal-rcm or causal-rcm-framewise"),
        ("sgf.pt", [], "self-gradient-forcing or self-gradient-forcing-framewise"),
    ],
)
def test_two_sizes_of_chunks_under_one_name(refused, file, names, families):
    with refused(f"by hand: {families}"):
        detect_family(file, names, WAN_1_3B)


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


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("longlive/self_forcing_dmd.pt", "self-forcing"),
        ("self-forcing-tests/krea/rolling_forcing_dmd.pt", "rolling-forcing"),
        ("Matrix-Game/reward_forcing.pt", "reward-forcing"),
        ("framewise/tests/chunkwise/causal_forcing.pt", "causal-forcing"),
    ],
)
def test_what_is_nearer_to_the_file_counts(file, family):
    assert detect_family(file, [KEY], WAN_1_3B).family.name == family


@pytest.mark.parametrize("file", ["causal_forcing.safetensors", "causal_forcing_chunkwise_or_framewise.pt"])
def test_causal_forcing_that_cannot_be_told(refused, file):
    with refused(file, "by hand: causal-forcing or causal-forcing-framewise"):
        detect_family(file, [KEY], WAN_1_3B)


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("LongLive-2.0-5B/model_bf16.pt", "LongLive 2.0, which is of Wan 2.2 5B"),
        ("MemFlow/base.pt", "memory bank"),
        ("StreamDiffusionV2/wan_causal_dmd_v2v/model.pt", "live video"),
        ("Helios-Distilled/transformer.safetensors", "no causal cache"),
        ("Matrix-Game-2.0/base.safetensors", "actions"),
        ("lingbot-world.safetensors", "world model"),
        ("CausalWan2.2-I2V-A14B-Preview.safetensors", "two backbones"),
        ("Self-Forcing/ode_init.pt", "stage of training"),
        ("Causal-Forcing/chunkwise/ar_diffusion.pt", "stage of training"),
        ("CausVid/bidirectional_checkpoint1/model.pt", "bidirectional"),
        ("Wan2.1-T2V-14B-StepDistill-CfgDistill.safetensors", "bidirectional"),
        ("wan21_self_forcing_lightx2v.safetensors", "bidirectional"),
    ],
)
def test_known_but_not_run(refused, file, title):
    with refused(repr(file), title, "cannot be run here", "by hand (self-forcing, causal-forcing, "):
        detect_family(file, [KEY], WAN_1_3B)
    assert choose_family("self-forcing", file, [KEY], WAN_1_3B, {}).reason == "it was chosen by hand"


@pytest.mark.parametrize("file", ["wan2.1_t2v_1.3B_fp16.safetensors", "Wan2_1-T2V-14B.safetensors", "wan21.pt"])
def test_an_ordinary_wan(refused, file):
    with refused(file, "is bidirectional and not autoregressive", "by hand"):
        detect_family(file, [KEY], WAN_1_3B)


@pytest.mark.parametrize("file", ["model.pt", "v1.0/thing", "", "swan21.pt", "2steps.pt"])
def test_unknown_files(refused, file):
    with refused("cannot tell", repr(file), "by hand (self-forcing, "):
        detect_family(file, [], WAN_1_3B)


def test_the_toy_world_is_told_by_its_text():
    found = detect_family("anything.pt", [], dataclasses.replace(WAN_1_3B, text_dim=TEXT_DIM))
    assert found.family.name == "toy-world"
    assert "16 channels" in found.reason
