"""The fields of a row of the family table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...stream.sigmas import even_steps, warp_steps


@dataclass(frozen=True)
class RequiredLora:
    """A LoRA without which a checkpoint is not the finished model.

    Attributes:
        file: name as published.
        source: where to get it, for people.
        merged: a regular expression over the lower-case words of a checkpoint's file name. A match means that the
            LoRA is merged into it already; empty where no name says so.
    """

    file: str
    source: str
    merged: str = ""


@dataclass(frozen=True)
class Family:
    """One row of the family table.

    Attributes:
        name: as on the command line.
        title: for people.
        chunk_frames: latent frames denoised together.
        steps: timesteps of the denoising passes, decreasing from at most 1000, before the shift.
        shift: flow-matching time shift of the schedule.
        latent_frames: the length that the model was trained for or that its authors generate; the default length.
        pixel_size: default (height, width) in pixels.
        licence: of the published weights.
        warped: whether `shift` is applied to `steps`; if not, `steps` are noise levels times 1000.
        first_steps: steps of the first chunk, if they differ; else None.
        window: latent frames read in all, including the current chunk and the sink; None for the whole history.
        sink: number of opening latent frames that are kept for ever.
        sink_average: share that the sink keeps of itself when an evicted frame is averaged into it
            (Reward-Forcing's alpha); None for a sink that never changes.
        rope: positions of keys: "absolute" as in the video, or "relative", counted within the window.
        loop: "common" (docs/references.md, "Self-Forcing's loop"), "rolling" (docs/references.md, "Rolling
            Forcing's joint window") or "restart" (rollouts that begin anew with the last clean latents).
        restart_frames: for loop "restart": new latent frames per rollout. The first rollout has `context_frames`
            more, because it has no context.
        context_frames: for loop "restart": clean latents of the previous rollout that a new one begins with.
        lora: the LoRA that the checkpoint needs.
        prompt_switch: what happens when the prompt changes: only the cross-attention is refreshed
            ("cross-attention"), the last clean latents are cached again under the new prompt ("recache"), the cache
            is emptied except for its opening and newest frames ("flush"), or the old embedding changes into the
            new one over several chunks ("interpolate").
        source: where people get the weights.
        heads_note: why Dummy Forcing does not apply, or only partly, for people; empty where it applies.
    """

    name: str
    title: str
    chunk_frames: int
    steps: tuple[float, ...]
    shift: float
    latent_frames: int
    pixel_size: tuple[int, int]
    licence: str
    warped: bool = True
    first_steps: tuple[float, ...] | None = None
    window: int | None = None
    sink: int = 0
    sink_average: float | None = None
    rope: Literal["absolute", "relative"] = "absolute"
    loop: Literal["common", "rolling", "restart"] = "common"
    restart_frames: int | None = None
    context_frames: int = 0
    lora: RequiredLora | None = None
    prompt_switch: Literal["cross-attention", "recache", "flush", "interpolate"] = "cross-attention"
    source: str = ""
    heads_note: str = ""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Noise levels of the denoising passes, ending with 0."""
        return self._levels(self.steps)

    @property
    def first_sigmas(self) -> tuple[float, ...] | None:
        """Noise levels of the first chunk, ending with 0; None if they are those of all chunks."""
        return None if self.first_steps is None else self._levels(self.first_steps)

    def sigmas_of(self, steps: int | None) -> tuple[float, ...]:
        """Noise levels of `steps` evenly spaced passes, with the family's shift; the family's own for None or 0."""
        return warp_steps(even_steps(steps), self.shift) if steps else self.sigmas

    @property
    def how_it_runs(self) -> str:
        """One line for people: chunks, steps, what is read, and the loop."""
        frames = f"{self.chunk_frames} latent frame{'s' if self.chunk_frames > 1 else ''}"
        first = f" (in the first one {_listed(self.first_steps)})" if self.first_steps else ""
        parts = [f"chunks of {frames}", f"steps {_listed(self.steps)}{first}"]
        parts.append(f"shift {self.shift:g}" if self.warped else "no shift")
        if self.window is not None:
            parts.append(f"reads {self.window} latent frames{self._sink_words()}")
        if self.rope == "relative":
            parts.append("positions counted within the window")
        if self.loop == "rolling":
            parts.append("several chunks at once")
        elif self.loop == "restart":
            parts.append(
                f"starts over every {self.restart_frames} latent frames from the last {self.context_frames}"
            )
        return "; ".join(parts)

    def _sink_words(self) -> str:
        if not self.sink:
            return ""
        what = "one" if self.sink == 1 else f"{self.sink}"
        kept = "for ever" if self.sink_average is None else "averaged with those that leave"
        return f", the first {what} {kept}"

    def _levels(self, steps: tuple[float, ...]) -> tuple[float, ...]:
        return warp_steps(steps, self.shift if self.warped else 1.0)


def _listed(steps: tuple[float, ...]) -> str:
    return ", ".join(f"{step:g}" for step in steps)
