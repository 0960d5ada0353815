"""The base class of each slot's methods, with the questions that every method answers, and the registry of methods.

A method is a frozen dataclass that derives from the base of its slot and gives its name and title:

    @dataclass(frozen=True)
    class Window(KeepMethod, name="window", title="Window"): ...

Nothing else is needed to register it: nodes, command line, bench, JSON and docs ask the registry. Modules of
methods import torch only inside the functions that compute.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import DummyForcingError
from .declaration import check_options, default_of, options_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..clock import ChunkClock
    from ..heads.recorder import MassRecorder
    from ..memory.keep import KeepRun
    from ..memory.merge import MergeRun
    from ..memory.select import CrossRun, SelectRun
    from ..memory_config import MemoryConfig
    from ..video import VideoShape

SLOTS = {
    "keep": "which frames each head retains",
    "merge": "how these are held",
    "select": "which of them a query reads",
    "cross": "which tokens of the prompt a pass reads",
    "rope": "where retained frames are on the time axis",
    "passes": "which passes of a chunk are computed",
}
"""What the method of each slot decides."""

REGISTERED: dict[str, dict[str, type[Method]]] = {}
"""Methods by slot and name; `methods` reads it."""

_SWITCH = {"true": True, "false": False}
_PLAIN = ("dense", "none", "all", "absolute")


class Method:
    """A method of any slot: frozen configuration that survives JSON.

    Attributes:
        slot: which slot it fills.
        name: in JSON. `typed` is the same on the command line.
        title: on screen.
        bench: fields in the order in which `dummy-forcing bench` takes their values, with colons between.
        about: what it does, a sentence for tables and for nodes that are made from the declaration.
        on_nodes: whether it can be set by a node.
    """

    slot: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str] = ""
    on_nodes: ClassVar[bool] = True
    bench: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[Mapping[str, Method]] = {}
    """Settings that can be chosen by name, the usual one first."""

    def __init_subclass__(cls, name: str = "", title: str = "", about: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if name:
            cls.name, cls.title, cls.about = name, title, about
            registered = REGISTERED.setdefault(cls.slot, {})
            other = registered.get(name, cls)
            if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise TypeError(
                    f"{cls.__module__} and {other.__module__} both declare a {cls.slot} method called {name!r}; "
                    "give one of them another name"
                )
            registered[name] = cls  # dataclass(slots=True) makes a second class of the same name

    def __post_init__(self) -> None:
        check_options(self)

    @classmethod
    def typed(cls) -> str:
        """The name as it is typed on the command line."""
        return cls.name.replace("_", "-")

    @classmethod
    def from_options(cls, values: Mapping[str, Any], preset: str | None = None) -> Method:
        """The method with these fields set as users gave them, starting from a preset if there is one."""
        found, declared = {}, options_of(cls)
        for field, value in values.items():
            if field in declared:
                found |= {name: default_of(cls, name) for name in declared[field].resets}
                found |= {name: value for name in declared[field].also}
            found[field] = value
        return replace(cls.presets[preset], **found) if preset else cls(**found)

    @classmethod
    def from_bench(cls, values: Sequence[str]) -> Method:
        """The method from the values typed behind its name in `dummy-forcing bench`.

        Raises ValueError for values that make no sense.
        """
        if len(values) > len(cls.bench):
            raise ValueError(values)
        return cls(**{field: parse_value(cls, field, text) for field, text in zip(cls.bench, values, strict=False)})

    @classmethod
    def bench_syntax(cls) -> str:
        """What can be typed for `from_bench`."""
        names = [field.upper() for field in cls.bench]
        return cls.typed() + "".join(f"[:{name}" for name in names) + "]" * len(names)

    def describe(self) -> str:
        """The setting in one line, without a full stop."""
        return self.title

    def check(self, config: MemoryConfig) -> None:
        """Raise DummyForcingError if the method cannot be combined with the other methods of the memory."""

    def check_video(self, config: MemoryConfig, video: VideoShape) -> None:
        """Raise DummyForcingError if the memory does not suit this video."""


class KeepMethod(Method):
    """Which frames each head retains."""

    slot = "keep"
    keeps_all: ClassVar[bool] = False
    """Whether some heads keep every frame for good."""
    sink: int = 0
    """Opening frames that all heads keep."""
    sink_average: float | None = None
    """Weight of opening frames that take in what leaves the window; None if they stay as they are."""
    local_context: int | None = None
    """Chunks that heads look back at most, where a method counts in chunks; None if it does not, or for all."""
    reads_all: ClassVar[bool] = True
    """Whether every pass reads all that is kept."""

    @property
    def needs_measurement(self) -> bool:
        """Whether heads are measured while the video is made."""
        return False

    def measured_in(self, video: VideoShape) -> int | None:
        """The chunk in whose clean pass heads are measured; None if they are not."""
        return None

    def scorer(self, layers: int, wants: Callable[[ChunkClock], bool]) -> MassRecorder:
        """The observer whose masses roles follow from; only of methods that measure heads.

        wants: in which passes it looks.
        """
        raise NotImplementedError

    def program(self, masses: Tensor) -> Tensor:
        """Roles int64 [layers, heads] for masses [layers, heads, 3]; only for methods that measure heads."""
        raise NotImplementedError

    def with_roles(self, roles: Sequence[Sequence[int]], chunk: int | None = None) -> KeepMethod:
        """The same method with these roles in place of a measurement; they take effect after `chunk`, if given."""
        return self

    def upper_bound(self, video: VideoShape) -> KeepMethod:
        """A method without a measurement that takes as much memory as this one can ever take."""
        return self

    def longest_history(self, video: VideoShape) -> int | None:
        """Latent frames before the present chunk that some head may hold; None without a limit."""
        return None

    def begin(self, video: VideoShape) -> KeepRun:
        """Raises DummyForcingError where it does not fit the model or the video."""
        raise NotImplementedError


class MergeMethod(Method):
    """How the keys and values that a head retains are held."""

    slot = "merge"
    holds_frames: ClassVar[bool] = True
    """Whether every frame is held on its own."""

    def begin(self, video: VideoShape, closes_after: int | None) -> MergeRun:
        """closes_after: as for `FrameStore`."""
        raise NotImplementedError


class SelectMethod(Method):
    """Which of the keys that a head retains a query reads."""

    slot = "select"

    def schedule(self, config: MemoryConfig, video: VideoShape) -> str | None:
        """What will be read during a video, in words; None if it is everything, or not known beforehand."""
        return None

    def begin(self, video: VideoShape) -> SelectRun:
        raise NotImplementedError


class CrossMethod(Method):
    """Which tokens of the prompt a pass reads."""

    slot = "cross"

    def begin(self) -> CrossRun:
        raise NotImplementedError


class PositionMethod(Method):
    """Where kept keys are on the time axis."""

    slot = "rope"

    @property
    def after(self) -> int | None:
        """Latent frames after which opening frames get positions right before the recent ones; None: never."""
        return None


class PassMethod(Method):
    """Which passes of a chunk are computed."""

    slot = "passes"


def methods(slot: str) -> dict[str, type[Method]]:
    """All methods of a slot by name, what leaves the slot alone first: those of the modules in this folder."""
    _import_all()
    return dict(sorted(REGISTERED[slot].items(), key=lambda item: (item[0] not in _PLAIN, item[0])))


@cache
def _import_all() -> None:
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")


def find_method(slot: str, name: Any) -> type[Method]:
    """Raises DummyForcingError for an unknown name."""
    found = methods(slot)
    if not isinstance(name, str) or name not in found:
        raise DummyForcingError(f"unknown memory method {name!r}; expected one of {', '.join(found)}")
    return found[name]


def parse_value(method: type[Method], field: str, text: str) -> Any:
    """A field's value from the text typed; ValueError if it is not a value. The method checks the bounds."""
    declared = options_of(method)[field]
    if declared.parse is not None:
        return declared.parse(text)
    default = default_of(method, field)
    if isinstance(default, bool):
        if text not in _SWITCH:
            raise ValueError(text)
        return _SWITCH[text]
    return text if declared.choices else type(default)(text)
