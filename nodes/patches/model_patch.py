"""What the patch nodes set on a MODEL."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.checkpoints.families.running import COMMON, FamilyLoop
from ...core.memory_config import MemoryConfig
from ...core.methods.pass_skip import PassSkip


@dataclass(frozen=True)
class ModelPatch:
    """How a MODEL streams: every patch node fills a slot of its own, so that their order does not matter.

    Attributes:
        memory: what is kept and read.
        skip: denoising passes that are skipped; None computes all.
        loop: what the model's family does differently in the course of a video.
        compile: run the blocks through `torch.compile`.
    """

    memory: MemoryConfig = field(default_factory=MemoryConfig)
    skip: PassSkip | None = None
    loop: FamilyLoop = COMMON
    compile: bool = False
