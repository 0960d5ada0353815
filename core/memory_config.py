"""A memory's configuration: which method fills each slot, as frozen data that survives JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import DummyForcingError
from .methods.base import CrossMethod, KeepMethod, MergeMethod, Method, PositionMethod, SelectMethod, find_method
from .methods.dense import Dense
from .methods.plain import AllKeys, AllTokens, Unmerged
from .methods.positions import Absolute

if TYPE_CHECKING:
    from .memory.memory import AttentionObserver, Memory
    from .video import VideoShape


@dataclass(frozen=True)
class MemoryConfig:
    """What a video keeps and reads.

    `keep` decides which frames each head retains, `merge` how these are held, `select` which of them a query reads,
    `rope` where they are on the time axis, `cross` which tokens of the prompt are read.
    """

    keep: KeepMethod = field(default_factory=Dense)
    rope: PositionMethod = field(default_factory=Absolute)
    merge: MergeMethod = field(default_factory=Unmerged)
    select: SelectMethod = field(default_factory=AllKeys)
    cross: CrossMethod = field(default_factory=AllTokens)

    def __post_init__(self) -> None:
        for method in self.methods:
            method.check(self)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The method of every slot."""
        return tuple(getattr(self, item.name) for item in dataclasses.fields(self))

    def check_video(self, video: VideoShape) -> None:
        """Raise DummyForcingError if a method does not suit this video."""
        for method in self.methods:
            method.check_video(self, video)

    def begin(self, video: VideoShape, observers: Sequence[AttentionObserver] = ()) -> Memory:
        """The run state of one video.

        Raises DummyForcingError where a method does not fit the model or the video.
        """
        from .memory.memory import Memory

        self.check_video(video)
        keep, merge = self.keep.begin(video), self.merge.begin(video, self._closes_after(video))
        return Memory(video, keep, merge, self.select.begin, self.cross.begin(), observers)

    def _closes_after(self, video: VideoShape) -> int | None:
        """`closes_after` of the stores; None if nothing moves, so that opening frames need no copies."""
        after, total = self.rope.after, video.whole_frames
        return after if after is not None and (total is None or total > after) else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `from_dict` inverts it."""
        return {item.name: _to_dict(getattr(self, item.name)) for item in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemoryConfig:
        """Raises DummyForcingError for unknown slots, methods or options."""
        slots = [item.name for item in dataclasses.fields(cls)]
        unknown = set(values) - set(slots)
        if unknown:
            raise DummyForcingError(f"unknown memory slots {sorted(unknown)}; expected {', '.join(slots)}")
        return cls(**{slot: _from_dict(slot, value) for slot, value in values.items()})


def _to_dict(method: Method) -> dict[str, Any]:
    return {"method": method.name, **dataclasses.asdict(method)}


def _from_dict(slot: str, values: Mapping[str, Any]) -> Method:
    if not isinstance(values, Mapping):
        raise DummyForcingError(f"a memory slot is {values!r}; expected an object with a 'method' and its options")
    options = dict(values)
    kind = find_method(slot, options.pop("method", None))
    known = {item.name for item in dataclasses.fields(kind)}
    unknown = set(options) - known
    if unknown:
        raise DummyForcingError(
            f"memory method '{kind.name}' has no option {sorted(unknown)}; it has {sorted(known)}"
        )
    try:
        for name, value in options.items():
            if isinstance(value, list):  # JSON has no tuples
                options[name] = tuple(tuple(row) if isinstance(row, list) else row for row in value)
        return kind(**options)
    except TypeError as error:
        raise DummyForcingError(f"memory method '{kind.name}' cannot be made of {options}: {error}") from error
