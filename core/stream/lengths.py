"""How long a video can be: its opening and whole chunks, and no longer than the video it is made from.

All lengths are latent frames, the opening included; messages say them as the caller's users type them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DummyForcingError
from ..video import pixel_frames

Words = Callable[[int], str]
"""A length in latent frames as people type it, such as `--latents 9` or `a length of 33`."""


@dataclass(frozen=True)
class Counted:
    """How long the video that another is made from is, for messages.

    words: its frames, such as "9 frames". kept: as many as it would have if each were taken as it is. keep: what
    people set for that.
    """

    words: str
    kept: int
    keep: str

    @classmethod
    def of_latents(cls, latents: int) -> Counted:
        """Of one that is already latents."""
        return cls(count_frames(pixel_frames(latents)), 0, "")

    def remedy(self, frames: int) -> str:
        """`, or KEEP` where that makes as many frames as are needed."""
        return f", or take its frames one by one with {self.keep}" if self.kept >= frames else ""


def count_frames(count: int) -> str:
    """A number of frames in words."""
    return "1 frame" if count == 1 else f"{count} frames"


def whole_chunks(latents: int, chunk: int, opening: int = 0) -> int:
    """The greatest length up to `latents` that ends with a whole chunk; the opening alone if no chunk fits."""
    return opening + max(0, latents - opening) // chunk * chunk


def is_whole(latents: int, chunk: int, opening: int = 0) -> bool:
    """Whether a length is one or more whole chunks behind the opening."""
    return latents > opening and (latents - opening) % chunk == 0


def fitting_lengths(latents: int, chunk: int, opening: int = 0) -> tuple[int, int]:
    """The two lengths nearest to one that does not fit: whole chunks, at least one."""
    below = max(opening + chunk, whole_chunks(latents, chunk, opening))
    return below, below + chunk


def length_from_source(
    source: int,
    wanted: int | None,
    chunk: int,
    opening: int,
    what: str,
    words: Words,
    counted: Counted | None = None,
) -> int:
    """Length of a video that is made from another.

    Args:
        source: latent frames of the other video.
        wanted: length that was asked for; None for as many whole chunks as the source has.
        chunk, opening: latent frames of a chunk and of the opening.
        what: the source, at the beginning of messages.
        words: how people type a length.
        counted: the frames of the other video; None if it is only latents.

    Raises:
        DummyForcingError: the source is too short; the message says which length it is enough for.
    """
    whole = whole_chunks(source, chunk, opening)
    counted = counted or Counted.of_latents(source)
    if whole <= opening:
        behind = f" behind the {pixel_frames(opening)} that the video begins with" if opening else ""
        least = pixel_frames(opening + chunk)
        raise DummyForcingError(
            f"{what} has {counted.words}, less than a chunk{behind}; give a video of at least "
            f"{count_frames(least)}{counted.remedy(least)}"
        )
    if wanted is None:
        return whole
    if wanted > source:
        raise DummyForcingError(
            f"{what} has {counted.words}, the video is to have {pixel_frames(wanted)}; "
            f"use a longer source or {words(whole)}{counted.remedy(pixel_frames(wanted))}"
        )
    return wanted
