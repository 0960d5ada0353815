import io

import pytest
from rich.console import Console

from dummy_forcing.cli.console import open_console
from dummy_forcing.cli.progress import progress_line
from dummy_forcing.core.stream.tally import Standing, format_bytes

CHUNKS, PASSES = 40, 5


def show_all(console):
    with progress_line(console, "clip [bold]", CHUNKS, PASSES) as show:
        for done in range(1, CHUNKS * PASSES + 1):
            chunk = done // PASSES
            show(Standing(CHUNKS, chunk, done, 12.5 if chunk else None, 3 << 20 if chunk else None))


def test_plain_lines_are_sparse():
    out = io.StringIO()
    show_all(Console(file=out, markup=False, width=20))
    assert out.getvalue().splitlines() == [
        "clip [bold]: chunk 1/40, 12.50 DiT FPS, KV 3.0 MiB",
        "clip [bold]: chunk 40/40, 12.50 DiT FPS, KV 3.0 MiB",
    ]


def test_bar_on_a_terminal():
    out = io.StringIO()
    show_all(Console(file=out, force_terminal=True, width=120, color_system=None))
    last = out.getvalue()[out.getvalue().rindex("clip") :]
    for part in ("clip [bold]", "chunk 40/40", "12.50 DiT FPS", "KV 3.0 MiB"):
        assert part in last


def test_silence():
    show_all(None)


def test_reports_have_stdout_for_themselves():
    assert open_console("-").stderr and not open_console("report.json").stderr and not open_console().stderr


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (5 << 30, "5.0 GiB")]
)
def test_bytes_for_people(count, text):
    assert format_bytes(count) == text
