"""A memory's configuration: which method fills each slot, as frozen data that survives JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...kernels import Dense as DenseAttention
from ...kernels import attend_densely
from ..errors import DummyForcingError
from .ann_ca import AnnCA
from .ann_sa import AnnSA
from .cross import AllTokens, CrossMethod
from .dense import Dense
from .dummy_forcing import DummyForcing
from .keep import KeepPolicy, KeepShape
from .light_forcing import LightForcing
from .memory import AttentionObserver, Memory
from .merge import MergeMethod, Unmerged
from .quantised_kv import QuantisedKV
from .rope import Absolute, Relative
from .select import AllKeys, SelectMethod
from .store import StoreLayout
from .temp_cache import TempCache
from .window import RollingWindow, Window

KEEP_METHODS: dict[str, type] = {
    "dense": Dense,
    "window": Window,
    "rolling_window": RollingWindow,
    "dummy_forcing": DummyForcing,
}
"""Methods of the keep slot by the name they have in JSON and on the command line."""

MERGE_METHODS: dict[str, type] = {"none": Unmerged, "temp_cache": TempCache, "quantised": QuantisedKV}
"""Methods of the merge slot."""

SELECT_METHODS: dict[str, type] = {"all": AllKeys, "light_forcing": LightForcing, "ann": AnnSA}
"""Methods of the select slot."""

CROSS_METHODS: dict[str, type] = {"all": AllTokens, "ann": AnnCA}
"""Methods of the cross slot."""

ROPE_METHODS: dict[str, type] = {"absolute": Absolute, "relative": Relative}
"""Where kept keys are on the time axis."""

_SLOTS: dict[str, dict[str, type]] = {
    "keep": KEEP_METHODS,
    "merge": MERGE_METHODS,
    "select": SELECT_METHODS,
    "cross": CROSS_METHODS,
    "rope": ROPE_METHODS,
}


@dataclass(frozen=True)
class MemoryConfig:
    """What a video keeps and reads.

    `keep` decides which frames each head retains, `merge` how these are held, `select` which of them a query reads,
    `rope` where they are on the time axis, `cross` which tokens of the prompt are read.
    """

    keep: KeepPolicy = field(default_factory=Dense)
    rope: Absolute | Relative = field(default_factory=Absolute)
    merge: MergeMethod = field(default_factory=Unmerged)
    select: SelectMethod = field(default_factory=AllKeys)
    cross: CrossMethod = field(default_factory=AllTokens)

    def __post_init__(self) -> None:
        if isinstance(self.rope, Relative) and self.keep.keeps_all:
            raise DummyForcingError(
                "window-relative positions need a limited context, but some heads keep the whole video; use a "
                "window or Dummy Forcing with a local context, or absolute positions"
            )
        self.merge.check(self)
        self.select.check(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `from_dict` inverts it."""
        return {slot: _method_to_dict(getattr(self, slot), methods) for slot, methods in _SLOTS.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemoryConfig:
        """Raises DummyForcingError for unknown slots, methods or options."""
        unknown = set(values) - set(_SLOTS)
        if unknown:
            raise DummyForcingError(f"unknown memory slots {sorted(unknown)}; expected {', '.join(_SLOTS)}")
        return cls(**{slot: _method_from_dict(value, _SLOTS[slot]) for slot, value in values.items()})


@dataclass(frozen=True)
class VideoLayout:
    """What a memory must know of the video: sizes and where its tensors live.

    `total_frames` is the number of latent frames to come, None for a stream without end; `first_frames` is the
    length of the first chunk where it differs from `chunk_frames`, as it does behind a start image; `pass_frames`
    the most frames that a pass has, where it is more than a chunk; `grid` the rows and columns of a frame's tokens.
    """

    batch: int
    tokens_per_frame: int
    chunk_frames: int
    total_frames: int | None
    dtype: torch.dtype
    device: torch.device
    first_frames: int | None = None
    pass_frames: int | None = None
    grid: tuple[int, int] | None = None


def build_memory(
    config: MemoryConfig,
    backbone: nn.Module,
    video: VideoLayout,
    observers: Sequence[AttentionObserver] = (),
    dense: DenseAttention = attend_densely,
) -> Memory:
    """Make the run state of one video for a backbone with Wan's attribute names."""
    layers, heads = len(backbone.blocks), backbone.num_heads
    layout = StoreLayout(
        batch=video.batch,
        head_dim=backbone.blocks[0].modulation.shape[-1] // heads,
        tokens_per_frame=video.tokens_per_frame,
        pass_frames=max(video.chunk_frames, video.first_frames or 0, video.pass_frames or 0),
        dtype=video.dtype,
        device=video.device,
        after=_after(config.rope, video.total_frames),
        grid=video.grid,
    )
    keep = config.keep.begin(KeepShape(layers, heads, video.chunk_frames, video.first_frames))
    slots = config.merge, config.select, config.cross
    return Memory(heads, layout, keep, video.total_frames, observers, dense, *slots)


def _after(rope: Absolute | Relative, total_frames: int | None) -> int | None:
    """None where nothing will move: then no copies of opening frames are needed."""
    reached = rope.after is not None and (total_frames is None or total_frames > rope.after)
    return rope.after if reached else None


def _method_to_dict(method: Any, registry: Mapping[str, type]) -> dict[str, Any]:
    name = next(name for name, kind in registry.items() if type(method) is kind)
    return {"method": name, **dataclasses.asdict(method)}


def _method_from_dict(values: Mapping[str, Any], registry: Mapping[str, type]) -> Any:
    if not isinstance(values, Mapping):
        raise DummyForcingError(f"a memory slot is {values!r}; expected an object with a 'method' and its options")
    options = dict(values)
    name = options.pop("method", None)
    if not isinstance(name, str) or name not in registry:
        raise DummyForcingError(f"unknown memory method {name!r}; expected one of {', '.join(registry)}")
    known = {item.name for item in dataclasses.fields(registry[name])}
    unknown = set(options) - known
    if unknown:
        raise DummyForcingError(f"memory method '{name}' has no option {sorted(unknown)}; it has {sorted(known)}")
    try:
        for table in ("roles", "forced_roles"):
            if options.get(table) is not None:
                options[table] = tuple(tuple(row) for row in options[table])
        return registry[name](**options)
    except TypeError as error:
        raise DummyForcingError(f"memory method '{name}' cannot be made of {options}: {error}") from error
