"""What a video needs is counted before anything is allocated; what is advised fits."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.room import Demand, Words, check_room, largest_that_fits, longest_that_fits
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

SHAPE = WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, freq_dim=32)
WORDS = Words(lambda height, width: f"{height}x{width}", lambda latents: f"{latents} latents")
with torch.device("meta"):
    VAE = WanVAE(WanVAEShape(width=8))


def demand(rows=6, columns=9, total=21, chunk=3, memory=None, decoder=True):
    video = VideoShape(
        SHAPE.layers, SHAPE.heads, chunk, total, grid=(rows, columns), head_dim=12, dtype=torch.float32
    )
    return Demand(
        SHAPE.dim,
        SHAPE.ffn_dim,
        memory or MemoryConfig(),
        video,
        StreamingDecoder(VAE) if decoder else None,
    )


def test_the_arithmetic():
    need = demand().need()
    tokens = 6 * 9
    assert need.kv == 2 * 2 * 21 * tokens * 48 * 4  # keys and values, layers, frames
    assert need.model == 3 * tokens * (8 * 48 + 4 * 64) * 4
    assert need.decoding == 6 * 8 * 12 * (6 * 16) * (9 * 16) * 4
    assert need.total == need.kv + need.decoding
    assert demand(decoder=False).need().total == need.kv + need.model
    assert replace(demand(), video=replace(demand().video, longest_pass=12)).need().model == 4 * need.model


@pytest.mark.parametrize("short", [0, 1])
def test_what_fits_exactly_is_accepted_and_one_byte_less_is_not(short):
    needed = demand().need().total
    if not short:
        check_room(demand(), needed, "the computer", WORDS)
        check_room(demand(), None, "the computer", WORDS)
        return
    with pytest.raises(DummyForcingError, match="of memory beside the weights, and the computer has"):
        check_room(demand(), needed - short, "the computer", WORDS)


sides = st.integers(1, 512)


@settings(max_examples=50, deadline=None)
@given(sides, sides, st.integers(1, 40), st.floats(1e-4, 1.0))
def test_advice_fits_when_it_is_typed(rows, columns, chunks, share):
    """And nearly fills what there is: the next larger size would not fit."""
    asked = demand(rows, columns, 3 * chunks)
    room = int(share * asked.need().total)
    try:
        check_room(asked, room, "the computer", WORDS)
        return
    except DummyForcingError as error:
        size = re.search(r"at most (\d+)x(\d+)", str(error))
        length = re.search(r"at most (\d+) latents", str(error))
    if size is not None:
        height, width = map(int, size.groups())
        assert height % 16 == width % 16 == 0 and height <= 16 * rows and width <= 16 * columns
        assert asked.with_grid(height // 16, width // 16).need().total <= room
    if length is not None:
        assert int(length[1]) % 3 == 0 and int(length[1]) < 3 * chunks
        assert demand(rows, columns, int(length[1])).need().total <= room
    assert largest_that_fits(asked, room) is None or size is not None or room < 1 / 0.9


def test_a_length_is_advised_only_where_it_is_the_reason():
    flat = demand(512, 512, 300, memory=MemoryConfig(keep=Window(3, 12)))
    assert longest_that_fits(flat, 2**30) is None
    long = demand(total=300_000)
    with pytest.raises(
        DummyForcingError, match=r"at most \d+ latents or Dummy Forcing, which keeps .* or a window"
    ):
        check_room(long, 2**30, "the computer", WORDS)


def test_free_memory_of_a_container(tmp_path):
    from dummy_forcing.core import free_memory

    assert free_memory._free_in_container(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert free_memory._free_in_container(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert free_memory._free_in_container(tmp_path) == 1000 - 700 + 150


def test_windows_lends_a_gpu_half_of_the_ram():
    from dummy_forcing.core.free_memory import lent_to_gpu

    assert (lent_to_gpu(1000, "win32"), lent_to_gpu(1000, "linux")) == (500, 0)
