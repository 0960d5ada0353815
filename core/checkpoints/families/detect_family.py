"""Which family a checkpoint belongs to.

The weights do not tell: nearly all families train the same 825 tensors (docs/references.md, "Wan 2.1's sizes").
The signs are the metadata that our own `convert` wrote, the file's name with its folders, and how its authors
wrapped the tensors (docs/references.md, "Published files"). A model that has to be run in a way that the table does
not know is refused, and the error names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...errors import DummyForcingError
from ...wan.shape import TOY_TEXT_DIM, WanShape
from ..layouts.foreign import foreign_by_name
from .family import Family
from .table import AUTO, FAMILIES, family

FAMILY_KEY = "dummy_forcing.family"
"""Entry of safetensors metadata in which `convert` writes the family's name."""

_TOY = "toy-world"
_CHUNKWISE, _FRAMEWISE = "chunkwise", "framewise"

# Patterns of file names -> family. Names are compared in lower case, with a single space between words and around
# numbers (`words_of`). The first pattern that matches counts. Two families share a name if only their chunk sizes
# differ.
_NAMED = (
    (r"infinity ?rope|infinite ?forcing", "infinity-rope"),
    (r"self ?gradient ?forcing|\bsgf\b", {_CHUNKWISE: "self-gradient-forcing",
                                           _FRAMEWISE: "self-gradient-forcing-framewise"}),
    (r"causal ?rcm|\brcm\b.*\bcausal\b", {_CHUNKWISE: "causal-rcm", _FRAMEWISE: "causal-rcm-framewise"}),
    (r"\blong ?video\b", "causal-forcing-longvideo"),
    (r"rolling ?forcing", "rolling-forcing"),
    (r"reward ?forcing", "reward-forcing"),
    (r"long ?live", "longlive"),
    (r"\bkrea", "krea-realtime-14b"),
    (r"caus ?vid.*(?:\b4 ?step|\bwarp)", "causvid-4step"),
    (r"caus ?vid", "causvid"),
    (r"\braven\b", "raven"),
    (r"(?:causal ?forcing|frame ?wise).*\b2 ?step\b", "causal-forcing-2step"),
    (r"(?:causal ?forcing|frame ?wise).*\b1 ?step\b", "causal-forcing-1step"),
    (r"causal ?forcing", {_CHUNKWISE: "causal-forcing", _FRAMEWISE: "causal-forcing-framewise"}),
    (r"self ?forcing|\bsf ?wan\b", "self-forcing"),
)  # fmt: skip
_CHUNK_WORDS = {_CHUNKWISE: r"chunk ?wise|\bc ?3\b", _FRAMEWISE: r"frame ?wise|\bc ?1\b"}
_ORDINARY_WAN = r"\bwan ?2 ?[12]\b"

_BY_HAND = f"choose its family by hand ({', '.join(name for name in FAMILIES if name != _TOY)})"


@dataclass(frozen=True)
class Detected:
    """A family, and why it was chosen, as a sentence without a full stop."""

    family: Family
    reason: str


def choose_family(
    chosen: str, file: str, names: Iterable[str], shape: WanShape, metadata: Mapping[str, str]
) -> Detected:
    """The family that a person chose, or for "auto" the one recognised from the checkpoint (`detect_family`)."""
    if chosen != AUTO:
        return Detected(family(chosen), "it was chosen by hand")
    return detect_family(file, names, shape, metadata)


def detect_family(
    file: str, names: Iterable[str], shape: WanShape, metadata: Mapping[str, str] | None = None
) -> Detected:
    """Recognise the family of a checkpoint.

    Args:
        file: its name with the folders that are shown to people, such as `chunkwise/causal_forcing.pt`.
        names: of the tensors, as they stand in the file, with containers and wrappers.
        shape: of the backbone.
        metadata: of the file.

    Raises:
        DummyForcingError: the family cannot be recognised, or is one that cannot be run here.
    """
    if shape.text_dim == TOY_TEXT_DIM:
        return Detected(family(_TOY), f"its prompts have {TOY_TEXT_DIM} channels, as only the toy world's have")
    recorded = (metadata or {}).get(FAMILY_KEY)
    if recorded in FAMILIES:
        return Detected(family(recorded), "the file's metadata says so")
    names = list(names)
    for words in _nearest_first(file):
        foreign = foreign_by_name(words)
        if foreign is not None:
            raise DummyForcingError(
                f"by its name {file!r} is {foreign}, and cannot be run here; if the name misleads, {_BY_HAND}"
            )
        found = next((found for pattern, found in _NAMED if re.search(pattern, words)), None)
        if isinstance(found, str):
            return Detected(family(found), f"the file name {file!r} says so")
        if found is not None:
            return _of_two(found, file, names)
    return _by_layout(file, names)


def own_name(file: str) -> str:
    """A file's name without its folders, with the path separators of any system."""
    return re.split(r"[/\\]", file)[-1]


def _nearest_first(file: str) -> list[str]:
    """The words of the file's own name, then of that with its folder, and so on: nearer names come first."""
    parts = re.split(r"[/\\]", file)
    return [words_of("/".join(parts[-count:])) for count in range(1, len(parts) + 1)]


def words_of(file: str) -> str:
    """A file name without its ending, as the words that patterns match: `a/C++_1step.pt` -> "a c++ 1 step"."""
    return " ".join(re.findall(r"[a-z]+(?:\+\+)?|[0-9]+", re.sub(r"\.[a-z_]*$", "", file.lower())))


def _of_two(found: Mapping[str, str], file: str, names: list[str]) -> Detected:
    """The chunkwise or the framewise one of two families; their files often have the same name."""
    for words in _nearest_first(file):
        said = [size for size, pattern in _CHUNK_WORDS.items() if re.search(pattern, words)]
        if len(said) == 1:
            return Detected(family(found[said[0]]), f"the file name {file!r} says so")
    first = next(iter(names), "")
    if found[_CHUNKWISE] == "causal-forcing":  # its authors saved the two in different ways
        if first.startswith("generator_ema.") and "._fsdp_wrapped_module." in first:
            return Detected(family(found[_FRAMEWISE]), "its tensors are wrapped as in the framewise release")
        if first.startswith("generator."):
            return Detected(family(found[_CHUNKWISE]), "its tensors are wrapped as in the chunkwise release")
    raise DummyForcingError(
        f"cannot tell whether {file!r} is the chunkwise or the framewise model; choose the family by hand: "
        f"{found[_CHUNKWISE]} or {found[_FRAMEWISE]}"
    )


def _by_layout(file: str, names: list[str]) -> Detected:
    """The family by the tensors' names alone, for a file whose own name says nothing."""
    if any(name.startswith("net.accum_") for name in names):
        return _of_two({_CHUNKWISE: "causal-rcm", _FRAMEWISE: "causal-rcm-framewise"}, file, names)
    if any(name.endswith("text_embedding.0.base_layer.weight") for name in names):
        return Detected(family("raven"), "a LoRA is wrapped around its layers and embeddings as in RAVEN's release")
    raise DummyForcingError(_unknown(file))


def _unknown(file: str) -> str:
    if re.search(_ORDINARY_WAN, words_of(file)):
        return (
            f"by its name {file!r} is an ordinary Wan model, which is bidirectional and not autoregressive; "
            f"if it is, {_BY_HAND}"
        )
    return f"cannot tell of which family {file!r} is; if it is an autoregressive Wan model, {_BY_HAND}"
