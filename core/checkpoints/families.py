"""Model families as data: how each was distilled and is therefore run (MODELS.md, A1 and A2).

`family.Family` says what a row means. A file tells its own family where it can (`detect`); the rows marked
"by hand" are rules over somebody else's weights and are never guessed.
"""

from __future__ import annotations

from ..errors import DummyForcingError
from .family import Family, RequiredLora

_FOUR_STEPS = (1000.0, 750.0, 500.0, 250.0)
_480P = (480, 832)
_UNKNOWN = "not stated"

_ROWS = (
    Family("toy-world", "Toy World", 3, _FOUR_STEPS, 5.0, 21, (96, 96), "Apache-2.0", source="built in"),
    Family(
        "self-forcing",
        "Self-Forcing",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "CC-BY-NC-SA-4.0",
        source="gdhe17/Self-Forcing, checkpoints/self_forcing_dmd.pt",
    ),
    Family(
        "causal-forcing",
        "Causal Forcing, chunkwise",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "Apache-2.0",
        source="zhuhz22/Causal-Forcing, chunkwise/causal_forcing.pt",
    ),
    Family(
        "causal-forcing-framewise",
        "Causal Forcing, framewise",
        1,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "Apache-2.0",
        start_image=True,
        source="zhuhz22/Causal-Forcing, framewise/causal_forcing.pt",
    ),
    Family(
        "causal-forcing-2step",
        "Causal Forcing++, 2 steps",
        1,
        (1000.0, 500.0),
        5.0,
        21,
        _480P,
        "Apache-2.0",
        first_steps=_FOUR_STEPS,
        start_image=True,
        source="zhuhz22/Causal-Forcing, causal-forcing++/framewise-2step.pt",
    ),
    Family(
        "causal-forcing-1step",
        "Causal Forcing++, 1 step",
        1,
        (1000.0,),
        5.0,
        21,
        _480P,
        "Apache-2.0",
        first_steps=_FOUR_STEPS,
        start_image=True,
        source="zhuhz22/Causal-Forcing, causal-forcing++/framewise-1step.pt",
    ),
    Family(
        "causal-forcing-longvideo",
        "Causal Forcing for long videos",
        3,
        (1000.0, 800.0, 600.0, 400.0, 200.0),
        5.0,
        126,
        _480P,
        "Apache-2.0",
        window=21,
        sink=3,
        loop="rolling",
        source="zhuhz22/Causal-Forcing, chunkwise/longvideo.pt",
    ),
    Family(
        "longlive",
        "LongLive",
        3,
        _FOUR_STEPS,
        5.0,
        120,
        _480P,
        "CC-BY-NC-SA-4.0",
        window=12,
        sink=3,
        lora=RequiredLora("lora.pt", "Efficient-Large-Model/LongLive-1.3B, models/lora.pt"),
        prompt_switch="recache",
        source="Efficient-Large-Model/LongLive-1.3B, models/longlive_base.pt",
    ),
    # Its step list addresses the noise levels directly; the shift of 8 is that of its training.
    Family(
        "causvid",
        "CausVid",
        3,
        (1000.0, 757.0, 522.0),
        8.0,
        21,
        _480P,
        "CC-BY-NC-4.0",
        warped=False,
        loop="restart",
        restart_frames=18,
        context_frames=3,
        source="tianweiy/CausVid, autoregressive_checkpoint/model.pt",
    ),
    Family(
        "raven",
        "RAVEN",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "CC-BY-NC-4.0",
        source="mvp-lab/RAVEN, raven_model.pt",
    ),
    Family(
        "reward-forcing",
        "Reward-Forcing",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        _UNKNOWN,
        window=9,
        sink=3,
        sink_average=0.999,
        rope="relative",
        source="JaydenLu666/Reward-Forcing-T2V-1.3B, rewardforcing.pt",
    ),
    # Rules over Self-Forcing's weights, so only chosen by hand.
    Family(
        "infinity-rope",
        "Infinity-RoPE",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "CC-BY-NC-SA-4.0",
        window=6,
        sink=1,
        rope="relative",
        prompt_switch="flush",
        source="gdhe17/Self-Forcing, checkpoints/self_forcing_dmd.pt",
    ),
    Family(
        "krea-realtime-14b",
        "Krea Realtime 14B",
        3,
        _FOUR_STEPS,
        5.0,
        21,
        _480P,
        "Apache-2.0",
        loop="restart",
        restart_frames=3,
        context_frames=3,
        prompt_switch="interpolate",
        start_image=True,
        source="krea/krea-realtime-video, krea-realtime-video-14b.safetensors",
        heads_note="its cache is computed anew before every chunk and holds six frames at most, so there is "
        "little that Dummy Forcing could leave out",
    ),
    Family(
        "rolling-forcing",
        "Rolling Forcing",
        3,
        (1000.0, 800.0, 600.0, 400.0, 200.0),
        5.0,
        126,
        _480P,
        "Tencent, academic use only",
        window=21,
        sink=3,
        loop="rolling",
        source="TencentARC/RollingForcing, checkpoints/rolling_forcing_dmd.pt",
    ),
    Family(
        "causal-rcm",
        "Causal-rCM, chunkwise",
        3,
        (999.0, 937.0, 833.0, 625.0),
        1.0,
        21,
        _480P,
        _UNKNOWN,
        warped=False,
        source="NVIDIA, Causal_rCM_Wan2.1_T2V_1.3B_480p_*_c3-3.pt",
    ),
    Family(
        "causal-rcm-framewise",
        "Causal-rCM, framewise",
        1,
        (999.0, 937.0, 833.0, 625.0),
        1.0,
        21,
        _480P,
        _UNKNOWN,
        warped=False,
        source="NVIDIA, Causal_rCM_Wan2.1_T2V_1.3B_480p_*_c1-1.pt",
    ),
)

FAMILIES: dict[str, Family] = {row.name: row for row in _ROWS}
"""All families by name."""


def family(name: str) -> Family:
    """Look a family up; raises DummyForcingError for an unknown name."""
    if name not in FAMILIES:
        raise DummyForcingError(f"there is no model family {name!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


__all__ = ["FAMILIES", "Family", "RequiredLora", "family"]
