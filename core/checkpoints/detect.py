"""Which family a checkpoint is of.

The weights do not tell: all families train the same 825 tensors (MODELS.md 0.1). What tells is the file's name
with its folders, and how its authors wrapped the tensors. A family that would have to be run in another way than
those of the table is named in the error instead of being run wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import DummyForcingError
from ..wan.shape import WanShape
from ..world.vocabulary import TEXT_DIM
from .families import FAMILIES, Family, family

_TOY, _CHUNKWISE, _FRAMEWISE = "toy-world", "causal-forcing", "causal-forcing-framewise"

# Names are compared in lower case, with one space for whatever stood between words.
_UNSUPPORTED = {
    r"long ?live": "LongLive",
    r"rolling ?(forcing|sink)": "Rolling Forcing",
    r"reward ?forcing": "Reward-Forcing",
    r"self ?gradient ?forcing": "Self Gradient Forcing",
    r"\bkrea": "Krea Realtime",
    r"caus ?vid": "CausVid",
    r"\braven\b": "RAVEN",
    r"mem ?flow": "MemFlow",
    r"stream ?diffusion": "StreamDiffusionV2",
    r"causal ?rcm": "Causal-rCM",
    r"causal ?forcing ?\+\+|\b[12] ?step\b": "a one- or two-step model such as Causal Forcing++",
    r"\blong ?video\b": "Causal Forcing for long videos",
    r"\bode ?init\b|\bar ?diffusion\b|\bcausal ?(ode|cd)\b": "an intermediate stage of training",
}
_CAUSAL_FORCING = r"causal ?forcing"
_SELF_FORCING = r"self ?forcing"
_ORDINARY_WAN = r"\bwan ?2 ?[12]\b"

_BY_HAND = f"choose its family by hand ({', '.join(name for name in FAMILIES if name != _TOY)})"


@dataclass(frozen=True)
class Detected:
    """A family and why, as a sentence without a full stop."""

    family: Family
    reason: str


def detect_family(file: str, names: Iterable[str], shape: WanShape) -> Detected:
    """Tell the family of a checkpoint.

    Args:
        file: name, with the folders that the person sees; `chunkwise/causal_forcing.pt`.
        names: of the tensors as they are in the file, with containers and wrappers.
        shape: of the backbone.

    Raises:
        DummyForcingError: of no family that can be told, or of one that cannot be run.
    """
    if shape.text_dim == TEXT_DIM:
        return Detected(family(_TOY), f"its prompts have {TEXT_DIM} channels, as only the toy world's have")
    words = _words(file)
    for pattern, title in _UNSUPPORTED.items():
        if re.search(pattern, words):
            raise DummyForcingError(
                f"by its name {file!r} is {title}, which has to be run in a way that this version does not have; "
                f"if the name misleads, {_BY_HAND}"
            )
    if re.search(_CAUSAL_FORCING, words):
        return _causal_forcing(file, words, names)
    if re.search(_SELF_FORCING, words):
        return Detected(family("self-forcing"), f"the file name {file!r} says so")
    raise DummyForcingError(_unknown(file, words))


def _words(file: str) -> str:
    return " ".join(re.findall(r"[a-z]+(?:\+\+)?|[0-9]+", re.sub(r"\.[^./\\]*$", "", file.lower())))


def _causal_forcing(file: str, words: str, names: Iterable[str]) -> Detected:
    """Both of its models come as `causal_forcing.pt`; the authors saved them in different ways (MODELS.md A1)."""
    chunk, frame = re.search(r"chunk ?wise", words), re.search(r"frame ?wise", words)
    if bool(chunk) != bool(frame):
        return Detected(family(_CHUNKWISE if chunk else _FRAMEWISE), f"the file name {file!r} says so")
    first = next(iter(names), "")
    if first.startswith("generator_ema.") and "._fsdp_wrapped_module." in first:
        return Detected(family(_FRAMEWISE), "its tensors are wrapped as in the framewise release")
    if first.startswith("generator."):
        return Detected(family(_CHUNKWISE), "its tensors are wrapped as in the chunkwise release")
    raise DummyForcingError(
        f"cannot tell whether {file!r} is the chunkwise or the framewise model; choose the family by hand: "
        f"{_CHUNKWISE} or {_FRAMEWISE}"
    )


def _unknown(file: str, words: str) -> str:
    if re.search(_ORDINARY_WAN, words):
        return f"by its name {file!r} is an ordinary Wan model and not autoregressive; if it is, {_BY_HAND}"
    return f"cannot tell of which family {file!r} is; if it is an autoregressive Wan model, {_BY_HAND}"
