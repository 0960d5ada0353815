"""Command line options of methods, made from their declarations: how they are added, and what was typed."""

from __future__ import annotations

import argparse
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import DummyForcingError
from ..core.methods.base import SLOTS, Method, methods, parse_value
from ..core.methods.declaration import Option, default_of, options_of

PRESET = "preset"


@dataclass(frozen=True)
class Selector:
    """The option that chooses a slot's method, such as `--policy window`.

    further: words that can be typed besides the methods' names.
    """

    flag: str
    default: str
    help: str
    further: tuple[str, ...] = ()


def add_method_options(group: argparse._ArgumentGroup, slot: str, selector: Selector | None = None) -> None:
    """Add the options of all methods of a slot; those that were not typed are absent from the namespace."""
    if selector is not None:
        names = [*selectable(slot), *selector.further]
        group.add_argument(f"--{selector.flag}", choices=names, default=selector.default, help=selector.help)
    flags: dict[str, list[tuple[type[Method], str]]] = {}
    for method, field, flag in _flags(slot):
        flags.setdefault(flag, []).append((method, field))
    for flag, found in flags.items():
        if f"--{flag}" not in group._option_string_actions:  # another slot may have added it
            group.add_argument(f"--{flag}", **_argument(found))
    presets = {name: None for method in methods(slot).values() for name in method.presets}
    if presets:
        group.add_argument(f"--{PRESET}", choices=list(presets), default=SUPPRESS, help=_preset_help(slot))


def read_method(args: argparse.Namespace, slot: str, selector: Selector | None = None) -> Method | None:
    """The method of a slot as typed; None for one of the selector's further words, or if nothing chooses one.

    Raises DummyForcingError for options of another method, and for invalid values.
    """
    by_flag = _chosen_by_flag(args, slot)
    chosen = None if selector is None else getattr(args, selector.flag.replace("-", "_"))
    if by_flag is not None:
        method, flag = by_flag
        typed = getattr(args, _destination(flag))
        if selector is not None and chosen != selector.default:
            raise DummyForcingError(
                f"--{selector.flag} {chosen} and --{flag} set the same; leave out --{flag} {typed} or the other"
            )
    else:
        method = selectable(slot).get(chosen)
    _refuse_strays(args, slot, method, selector)
    return None if method is None else method.from_options(typed_values(args, method), _typed_preset(args, method))


def typed_values(args: argparse.Namespace, method: type[Method]) -> dict[str, Any]:
    """Fields of a method that were typed."""
    found = {field: _destination(flag) for other, field, flag in _flags(method.slot) if other is method}
    return {field: getattr(args, name) for field, name in found.items() if name in args}


def selectable(slot: str) -> dict[str, type[Method]]:
    """Methods that the slot's selector offers: all but those that have a flag of their own to choose them."""
    chosen_by_flag = {method for method, field, _ in _flags(slot) if options_of(method)[field].selects}
    return {method.typed(): method for method in methods(slot).values() if method not in chosen_by_flag}


def all_flags(slot: str) -> list[str]:
    """Every flag of a slot's methods, with its dashes."""
    return list(dict.fromkeys(f"--{flag}" for _, _, flag in _flags(slot)))


def _flags(slot: str) -> Iterator[tuple[type[Method], str, str]]:
    """Methods, fields and the flags that set them, without dashes."""
    for method in methods(slot).values():
        for field, declared in options_of(method).items():
            flag = f"{method.typed()}-{field.replace('_', '-')}" if declared.flag is None else declared.flag
            if flag:
                yield method, field, flag


def _chosen_by_flag(args: argparse.Namespace, slot: str) -> tuple[type[Method], str] | None:
    for method, field, flag in _flags(slot):
        declared, name = options_of(method)[field], _destination(flag)
        if declared.selects and name in args and getattr(args, name) != declared.off:
            return method, flag
    return None


def _refuse_strays(
    args: argparse.Namespace, slot: str, chosen: type[Method] | None, selector: Selector | None
) -> None:
    """Raise DummyForcingError for typed options of methods that were not chosen."""
    own = {flag for method, _, flag in _flags(slot) if method is chosen}
    for method, field, flag in _flags(slot):
        shared = any(other.slot != slot for other in _owners(flag))
        if _destination(flag) in args and flag not in own and not options_of(method)[field].selects and not shared:
            owners = " or ".join(each.typed() for each, _, other in _flags(slot) if other == flag)
            belongs = f"--{selector.flag} {owners}" if selector else method.title
            raise DummyForcingError(f"--{flag} belongs to {belongs}; leave it out or choose that method")
    presets = chosen.presets if chosen is not None else {}
    if PRESET in args and not presets and any(method.presets for method in methods(slot).values()):
        owner = next(method for method in methods(slot).values() if method.presets)
        belongs = f"--{selector.flag} {owner.typed()}"
        raise DummyForcingError(f"--{PRESET} belongs to {belongs}; leave it out or choose that method")


def _owners(flag: str) -> list[type[Method]]:
    return [method for slot in SLOTS for method, _, other in _flags(slot) if other == flag]


def _typed_preset(args: argparse.Namespace, method: type[Method]) -> str | None:
    return getattr(args, PRESET, None) if method.presets else None


def _preset_help(slot: str) -> str:
    owner = next(method for method in methods(slot).values() if method.presets)
    return f"{owner.typed()}: settings by name (default: {next(iter(owner.presets))})"


def _argument(found: list[tuple[type[Method], str]]) -> dict[str, Any]:
    """Arguments of `add_argument` for an option that one or several methods have."""
    method, field = found[0]
    declared = options_of(method)[field]
    helps = dict.fromkeys(options_of(each)[name].help for each, name in found)
    texts = []
    for help in helps:
        owners = [(each, name) for each, name in found if options_of(each)[name].help == help]
        lead = method.about if _introduces(method, field) else f"{', '.join(each.typed() for each, _ in owners)}:"
        texts.append(f"{lead} {help}{_defaults(owners)}")
    argument: dict[str, Any] = {"default": SUPPRESS, "help": " ".join(texts).replace("%", "%%")}
    if declared.choices:
        return {**argument, "choices": [*([declared.off] if declared.off else []), *declared.choices]}
    if isinstance(default_of(method, field), bool):
        return {**argument, "action": argparse.BooleanOptionalAction}
    return {**argument, "type": _reader(method, field, declared), "metavar": _metavar(method, field)}


def _introduces(method: type[Method], field: str) -> bool:
    """Whether this is the first option whose flag chooses the method: no list of methods tells what it does."""
    return field == next((name for name, declared in options_of(method).items() if declared.selects), None)


def _defaults(owners: list[tuple[type[Method], str]]) -> str:
    """The default of an option, for each of its methods if they differ; none where it sets several fields."""
    found: dict[Any, list[str]] = {}
    for method, field in owners:
        declared = options_of(method)[field]
        value = declared.off or default_of(method, field)
        if value not in (None, ()) and not declared.also:
            found.setdefault(value, []).append(method.typed())
    if len(found) < 2:
        return "".join(f" (default: {value})" for value in found)
    each = (f"{value} for {' and '.join(names)}" for value, names in found.items())
    return f" (default: {', '.join(each)})"


def _metavar(method: type[Method], field: str) -> str:
    """N for whole numbers, X for others."""
    declared, default = options_of(method)[field], default_of(method, field)
    if isinstance(default, str) and not declared.form:
        return "TEXT"
    number = "X" if isinstance(default, float) or declared.parse is float else "N"
    return declared.form or (f"{number}|{declared.word}" if declared.word else number)


def _reader(method: type[Method], field: str, declared: Option) -> Callable[[str], Any]:
    """The type of the option: text in, value out, or a message that says what was expected."""

    def read(text: str) -> Any:
        try:
            value = parse_value(method, field, text)
            if value is None or declared.fits(value):
                return value
        except DummyForcingError as error:
            raise ArgumentTypeError(str(error)) from error
        except ValueError:
            pass
        raise ArgumentTypeError(f"expected {declared.expected}, got {text!r}")

    return read


def _destination(flag: str) -> str:
    return flag.replace("-", "_")
