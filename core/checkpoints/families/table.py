"""Model families as data: how each was distilled, which is how it must be run.

`family.Family` explains the fields of a row. The family is recognised from the checkpoint where that is possible
(`detect_family`). Comments name the public code that a value comes from (docs/references.md, "Repositories", has
the commits), and what is uncertain.
"""

from __future__ import annotations

from functools import partial

from ...errors import DummyForcingError
from .family import Family, RequiredLora

AUTO = "auto"
"""Stands for the family that is recognised from the checkpoint (`detect_family.choose_family`)."""

_FOUR_STEPS = (1000.0, 750.0, 500.0, 250.0)
_FIVE_STEPS = (1000.0, 800.0, 600.0, 400.0, 200.0)
_RCM_STEPS = (999.0, 937.0, 833.0, 625.0)
_21_FRAMES_OF_480P = {"shift": 5.0, "latent_frames": 21, "pixel_size": (480, 832)}

_wan = partial(Family, **_21_FRAMES_OF_480P, steps=_FOUR_STEPS)
_framewise = partial(_wan, chunk_frames=1)
_chunkwise = partial(_wan, chunk_frames=3)
_rolling = partial(_chunkwise, latent_frames=126, window=21, sink=3, loop="rolling")

_ROWS = (
    _chunkwise("toy-world", "Toy World", pixel_size=(96, 96), licence="Apache-2.0", source="built in"),
    _chunkwise(
        "self-forcing",
        "Self-Forcing",
        licence="CC-BY-NC-SA-4.0",
        source="gdhe17/Self-Forcing, checkpoints/self_forcing_dmd.pt",
    ),
    _chunkwise(
        "causal-forcing",
        "Causal Forcing, chunkwise",
        licence="Apache-2.0",
        source="zhuhz22/Causal-Forcing, chunkwise/causal_forcing.pt",
    ),
    _framewise(
        "causal-forcing-framewise",
        "Causal Forcing, framewise",
        licence="Apache-2.0",
        source="zhuhz22/Causal-Forcing, framewise/causal_forcing.pt",
    ),
    # thu-ml/Causal-Forcing, configs/causal_forcing_dmd_framewise_{2,1}step.yaml: denoising_step_list_first_chunk.
    _framewise(
        "causal-forcing-2step",
        "Causal Forcing++, 2 steps",
        steps=(1000.0, 500.0),
        first_steps=_FOUR_STEPS,
        licence="Apache-2.0",
        source="zhuhz22/Causal-Forcing, causal-forcing++/framewise-2step.pt",
    ),
    _framewise(
        "causal-forcing-1step",
        "Causal Forcing++, 1 step",
        steps=(1000.0,),
        first_steps=_FOUR_STEPS,
        licence="Apache-2.0",
        source="zhuhz22/Causal-Forcing, causal-forcing++/framewise-1step.pt",
    ),
    # thu-ml/Causal-Forcing, long_video/configs/rolling_forcing_dmd.yaml: Rolling Forcing's loop with four steps.
    _rolling(
        "causal-forcing-longvideo",
        "Causal Forcing for long videos",
        licence="Apache-2.0",
        source="zhuhz22/Causal-Forcing, chunkwise/longvideo.pt",
    ),
    _chunkwise(
        "longlive",
        "LongLive",
        latent_frames=120,
        licence="CC-BY-NC-SA-4.0",
        window=12,
        sink=3,
        lora=RequiredLora("lora.pt", "Efficient-Large-Model/LongLive-1.3B, models/lora.pt", r"\bmerged?\b"),
        prompt_switch="recache",
        source="Efficient-Large-Model/LongLive-1.3B, models/longlive_base.pt",
    ),
    # tianweiy/CausVid, configs/wan_causal_dmd.yaml; rollouts as in minimal_inference/longvideo_....py. The
    # licence is the one that the model card and the repository state.
    _chunkwise(
        "causvid",
        "CausVid",
        steps=(1000.0, 757.0, 522.0),
        shift=8.0,
        warped=False,
        licence="CC-BY-NC-SA-4.0",
        loop="restart",
        restart_frames=18,
        context_frames=3,
        source="tianweiy/CausVid, autoregressive_checkpoint/model.pt",
    ),
    # The same repository, configs/wan_causal_dmd_warp_4step_cfg2.yaml.
    _chunkwise(
        "causvid-4step",
        "CausVid, 4 steps",
        shift=8.0,
        licence="CC-BY-NC-SA-4.0",
        loop="restart",
        restart_frames=18,
        context_frames=3,
        source="tianweiy/CausVid, autoregressive_checkpoint_warp_4step_cfg2/model.pt",
    ),
    # mvp-ai-lab/RAVEN, projects/wan_t2v/trials/dmd/.../raven.yaml: chunk 3, sink 0, no window, shift 5, 4 steps.
    _chunkwise("raven", "RAVEN", licence="CC-BY-NC-4.0", source="mvp-lab/RAVEN, raven_model.pt"),
    # JaydenLyh/Reward-Forcing, configs/reward_forcing.yaml and compression_alpha in wan/modules/causal_model.py.
    # The model card states no licence; that of the code is Apache-2.0.
    _chunkwise(
        "reward-forcing",
        "Reward-Forcing",
        licence="not stated (code: Apache-2.0)",
        window=9,
        sink=3,
        sink_average=0.999,
        rope="relative",
        source="JaydenLu666/Reward-Forcing-T2V-1.3B, rewardforcing.pt",
    ),
    # yesiltepe-hidir/infinity-rope, configs/self_forcing_dmd.yaml (local_attn_size 6, sink_size 1). The method runs
    # weights of others: setup_env.sh downloads Infinite-Forcing (Self-Forcing with a sink) and Causal Forcing.
    _chunkwise(
        "infinity-rope",
        "Infinity-RoPE",
        licence="that of the weights",
        window=6,
        sink=1,
        rope="relative",
        prompt_switch="flush",
        source="SOTAMak1r/Infinite-Forcing, ema_model.pt; Self-Forcing's and Causal Forcing's chunkwise files",
    ),
    # krea-ai/realtime-video, configs/self_forcing_server_14b.yaml lists the warped levels 1000, 937, 833, 625, 0
    # with do_kv_recomp; the fifth changes next to nothing and is left out (docs/references.md, "Krea
    # Realtime's loop").
    _chunkwise(
        "krea-realtime-14b",
        "Krea Realtime 14B",
        licence="Apache-2.0",
        loop="restart",
        restart_frames=3,
        context_frames=3,
        prompt_switch="interpolate",
        source="krea/krea-realtime-video, krea-realtime-video-14b.safetensors",
        heads_note="Krea computes its cache anew before every chunk and reads six frames at most, so that Dummy "
        "Forcing has little to leave out",
    ),
    # TencentARC/RollingForcing, configs/rolling_forcing_dmd.yaml and LICENSE; 21 frames read, first block kept.
    _rolling(
        "rolling-forcing",
        "Rolling Forcing",
        steps=_FIVE_STEPS,
        licence="Tencent's own: academic use only",
        source="TencentARC/RollingForcing, checkpoints/rolling_forcing_dmd.pt",
    ),
    # The values below could not be checked in public code: NVlabs/rcm announces causal training without its scripts
    # (docs/references.md, "Causal-rCM's steps"). The licence is that of the model card of worstcoder/rcm-Wan, which
    # holds the public checkpoints.
    _chunkwise(
        "causal-rcm",
        "Causal-rCM, chunkwise",
        steps=_RCM_STEPS,
        shift=1.0,
        warped=False,
        licence="Apache-2.0",
        source="worstcoder/rcm-Wan, Causal_rCM_Wan2.1_T2V_1.3B_480p_*_c3-3.pt",
    ),
    _wan(
        "causal-rcm-framewise",
        "Causal-rCM, framewise",
        1,
        steps=_RCM_STEPS,
        shift=1.0,
        warped=False,
        licence="Apache-2.0",
        source="worstcoder/rcm-Wan, Causal_rCM_Wan2.1_T2V_1.3B_480p_*_c1-1.pt",
    ),
    # zhuang2002/Self_Gradient_Forcing, README.md: sink 3 + 6 + 3 or sink 4 + 16 + 1 frames, keys stored un-roped.
    # Steps and shift are those of Causal Forcing, from which it starts; they were not read in its own configs.
    _chunkwise(
        "self-gradient-forcing",
        "Self Gradient Forcing, chunkwise",
        licence="Apache-2.0",
        window=12,
        sink=3,
        rope="relative",
        source="JunhaoZhuang/Self_Gradient_Forcing, chunkwise/ar/model.pt",
    ),
    _framewise(
        "self-gradient-forcing-framewise",
        "Self Gradient Forcing, framewise",
        licence="Apache-2.0",
        window=21,
        sink=4,
        rope="relative",
        source="JunhaoZhuang/Self_Gradient_Forcing, framewise/ar/model.pt",
    ),
)

FAMILIES: dict[str, Family] = {row.name: row for row in _ROWS}
"""All families by name."""


def family(name: str) -> Family:
    """Look a family up; raises DummyForcingError for an unknown name."""
    if name not in FAMILIES:
        raise DummyForcingError(f"there is no model family {name!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


__all__ = ["AUTO", "FAMILIES", "Family", "RequiredLora", "family"]
