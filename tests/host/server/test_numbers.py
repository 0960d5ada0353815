"""That the schema lets frontends take every number that a node accepts.

Both renderers round what is typed: a whole number to `min % step + k * step`, another to as many decimals as the
step has. tests/web/browser/numbers.mjs types and clicks the numbers; here is the arithmetic, without a browser.
"""

import math

import pytest

from dummy_forcing.core.stream.noise import MOST_SEED

# Numbers that the nodes accept, by input: lengths of whole chunks, sizes of the families and of the toy world.
ACCEPTED = {
    "length": (0, 9, 13, 21, 33, 81, 85, 93, 1_000_000 - 3),
    "width": (0, 96, 480, 832, 1280),
    "height": (0, 96, 464, 480, 720),
    "seed": (1, 2**32 + 1, MOST_SEED - 1, MOST_SEED),
}
DECIMALS = (0.33, 0.125, 0.333, 0.925)


@pytest.fixture
def numbers(server, node_classes):
    """Name, type and options of every number of every node of ours, also of those inside a dynamic combo."""
    info = server.get("/object_info")
    return [
        (f"{name}.{place}", kind, options)
        for name in node_classes
        for group in ("required", "optional")
        for place, kind, options in numbers_in(info[name]["input"].get(group, {}))
    ]


def test_whole_numbers_are_kept(numbers):
    lost = [
        (name, value)
        for name, kind, options in numbers
        if kind == "INT"
        for value in whole_values(name, options)
        if whole_kept(value, options) != value
    ]
    assert lost == []


def test_three_decimals_are_kept(numbers):
    lost = [
        (name, value)
        for name, kind, options in numbers
        if kind == "FLOAT"
        for value in (*DECIMALS, options["min"], options["max"], options["default"])
        if options["min"] <= value <= options["max"] and decimal_kept(value, options) != value
    ]
    assert lost == []


def test_seeds_are_those_of_the_command_line(numbers):
    from dummy_forcing.cli import values

    ranges = {(options["min"], options["max"]) for name, _, options in numbers if name.endswith(".seed")}
    assert ranges == {(0, MOST_SEED)} and MOST_SEED == 2**53 - 1
    assert values.seed(str(MOST_SEED)) == MOST_SEED
    with pytest.raises(Exception, match=f"from 0 to {MOST_SEED}"):
        values.seed(str(MOST_SEED + 1))


def test_a_larger_seed_is_refused_by_name_and_range(server):
    prompt = {"1": {"class_type": "DummyForcingStreamVideo", "inputs": {"seed": MOST_SEED + 1, "length": 9}}}
    with pytest.raises(Exception, match=rf"bigger than max of {MOST_SEED}"):
        server.queue(prompt)


def numbers_in(inputs: dict) -> list[tuple[str, str, dict]]:
    found = []
    for key, (kind, *rest) in inputs.items():
        options = rest[0] if rest else {}
        found += [(key, kind, options)] if kind in ("INT", "FLOAT") else []
        for choice in options.get("options") or []:
            for group in choice.get("inputs", {}).values() if isinstance(choice, dict) else ():
                found += [(f"{key}.{place}", *of) for place, *of in numbers_in(group)]
    return found


def whole_values(name: str, options: dict) -> list[int]:
    usual = ACCEPTED.get(name.rpartition(".")[2], (options["min"] + 1, options["max"] - 1))
    return [*usual, options["min"], options["max"], options["default"]]


def whole_kept(value: int, options: dict) -> int:
    """As `useIntWidget.ts` of ComfyUI's frontend."""
    step = options.get("step") or 1
    offset = math.fmod(options.get("min", 0), step)
    return round((value - offset) / step) * step + offset if step != 1 else value


def decimal_kept(value: float, options: dict) -> float:
    """As `useFloatWidget.ts` of ComfyUI's frontend."""
    step = options.get("step") or 0.5
    return round(value, max(0, -math.floor(math.log10(step))))
