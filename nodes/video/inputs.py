"""Inputs that several nodes have: the size of a video, its chunks and its seed."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.heads.forced import EXAMPLE
from ...core.stream.noise import MOST_SEED

# Step of the arrows of every share, strength and threshold. Frontends round a typed number to as many decimals as
# the step has: three here.
FINE_STEP = 0.005


def rare_number(name: str, default: int, low: int, most: int, tooltip: str) -> io.Int.Input:
    """A whole number that is seldom changed."""
    return io.Int.Input(name, default=default, min=low, max=most, optional=True, advanced=True, tooltip=tooltip)


def rare_switch(name: str, default: bool, tooltip: str) -> io.Boolean.Input:
    """A switch that is seldom touched."""
    return io.Boolean.Input(name, default=default, optional=True, advanced=True, tooltip=tooltip)


def frames_input(name: str, tooltip: str) -> io.MultiType.Input:
    """Pictures, a video or latents to work with."""
    return io.MultiType.Input(name, types=[io.Image, io.Video, io.Latent], optional=True, tooltip=tooltip)


def size_inputs() -> list[io.Int.Input]:
    """Width and height in pixels."""
    return [
        io.Int.Input(
            name,
            default=0,
            min=0,
            max=8192,
            step=16,
            tooltip=f"Pixels, a multiple of 16. 0 for the family's own: {usual}, toy world 96.",
        )
        for name, usual in (("width", 832), ("height", 480))
    ]


def length_input() -> io.Int.Input:
    """Length in pixel frames."""
    return io.Int.Input(
        "length",
        default=81,
        min=0,
        max=1_000_000,
        step=1,  # what is typed is rounded to min % step + k * step, and 0 and 4n + 1 have no larger step in common
        tooltip=(
            "Frames of the video, 16 a second. They come in whole chunks: with 3 latent frames a chunk "
            "9, 21, 33, ... 81, 93; framewise any 4n + 1. 0 is the family's own length."
        ),
    )


def seed_input() -> io.Int.Input:
    """Seed of the noise."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MOST_SEED,
        control_after_generate=True,
        tooltip=f"The same seed gives the same noise on every device. From 0 to {MOST_SEED}.",
    )


def chunk_input() -> io.Int.Input:
    """Latent frames of a chunk, by default the family's."""
    return rare_number(
        "chunk_frames", 0, 0, 64, "Latent frames sampled together. 0 for what the family was trained with."
    )


def clean_pass_inputs() -> list[io.Float.Input | io.Boolean.Input]:
    """Settings of the pass that writes keys and values."""
    return [
        io.Float.Input(
            "context_noise",
            default=0.0,
            min=0.0,
            max=0.99,
            step=FINE_STEP,
            optional=True,
            advanced=True,
            tooltip=(
                "Noise level of the pass whose keys and values are kept. 0 is what all released models were "
                "trained with."
            ),
        ),
        rare_switch(
            "refine",
            False,
            (
                "Experimental: take what that pass predicts for the result, so that fewer steps do. Needs context "
                "noise, about 0.1."
            ),
        ),
    ]


def forced_roles_input() -> io.String.Input:
    """Head roles set by hand."""
    return io.String.Input(
        "forced_roles",
        default="",
        optional=True,
        advanced=True,
        tooltip=(
            "Heads whose role is set by hand, whatever was measured: layer:head=role, counted from 0, with commas "
            f"between, for example {EXAMPLE}. A click on the head map writes it for you."
        ),
    )
