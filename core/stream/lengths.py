"""How long a video can be: whole chunks behind what it begins with, and no longer than the video it is made from.

All lengths are latent frames, the opening included; messages say them as the caller's users type them.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DummyForcingError
from .tally import pixel_frames

Words = Callable[[int], str]
"""A length in latent frames as people type it, such as `--latents 9` or `a length of 33`."""


def whole_chunks(latents: int, chunk: int, opening: int = 0) -> int:
    """The greatest length of at most `latents` that ends with a whole chunk; the opening alone where none fits."""
    return opening + max(0, latents - opening) // chunk * chunk


def fitting_lengths(latents: int, chunk: int, opening: int = 0) -> tuple[int, int]:
    """The two lengths of whole chunks, at least one of them, next to one that does not fit."""
    below = max(opening + chunk, whole_chunks(latents, chunk, opening))
    return below, below + chunk


def length_from_source(source: int, wanted: int | None, chunk: int, opening: int, what: str, words: Words) -> int:
    """Length of a video that is made from another.

    Args:
        source: latent frames of the other video.
        wanted: length that was asked for; None for all of the source that makes whole chunks.
        chunk, opening: latent frames of a chunk and of what the video begins with.
        what: the source, at the beginning of messages.
        words: how people type a length.

    Raises:
        DummyForcingError: the source is too short, with what it is enough for.
    """
    whole = whole_chunks(source, chunk, opening)
    if whole <= opening:
        behind = f" behind the {pixel_frames(opening)} that the video begins with" if opening else ""
        raise DummyForcingError(
            f"{what} has {pixel_frames(source)} frames, less than a chunk{behind}; give a video of at least "
            f"{pixel_frames(opening + chunk)} frames"
        )
    if wanted is None:
        return whole
    if wanted > source:
        raise DummyForcingError(
            f"{what} has {pixel_frames(source)} frames, the video is to have {pixel_frames(wanted)}; "
            f"use a longer source or {words(whole)}"
        )
    return wanted
