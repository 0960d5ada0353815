"""Whole videos on a tiny random model: memory stays flat and is freed, and methods that must agree do."""

import contextlib
import copy
import gc
import os
from pathlib import Path

import pytest
import torch

from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.recorder import MassRecorder
from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified
from dummy_forcing.core.stream.noise import SeededNoise

KEEPS = {"dense": Dense(), "window": Window(1, 7), "dummy forcing": DummyForcing()}
FLAT = {"window": Window(3, 9), "dummy forcing": DummyForcing(local_context=2, packed_frames=1)}
STATM = Path("/proc/self/statm")


def keeps(methods):
    return pytest.mark.parametrize("keep", methods.values(), ids=list(methods))


def kv_bytes_alive():
    gc.collect()
    return sum(thing.bytes for thing in gc.get_objects() if type(thing) is FrameStore)


def tensor_bytes_alive():
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout is torch.strided]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@keeps(FLAT)
@pytest.mark.parametrize("total_frames", [900, None], ids=["bounded", "endless"])
def test_three_hundred_chunks_at_flat_memory(stream, keep, total_frames):
    events = stream(keep, total_frames, sigmas=(1.0, 0.0))
    resident = {}
    for event in events:
        if not isinstance(event, ChunkDone):
            continue
        if event.clock.chunk == 2:
            constant = event.kv_bytes
        if event.clock.chunk >= 2:
            assert event.kv_bytes == constant > 0
        if event.clock.chunk in (30, 299) and STATM.exists():
            resident[event.clock.chunk] = resident_bytes()
        if event.clock.chunk == 299:
            events.close()
    if resident:
        assert resident[299] <= 1.02 * resident[30]


def test_dense_memory_is_allocated_once_when_the_length_is_known(stream):
    sizes = {event.kv_bytes for event in stream(Dense(), 30) if isinstance(event, ChunkDone)}
    frame_bytes = 2 * 4 * 2 * 4 * 48  # keys and values, fp32, layers, tokens, width
    assert sizes == {30 * frame_bytes}


@keeps(KEEPS)
def test_nothing_is_left_after_the_last_chunk(stream, keep):
    for _ in stream(keep):  # what is made once for a model and its head groups: RoPE, index tables
        pass
    before = tensor_bytes_alive()
    events = stream(keep)
    latents = [event.latents for event in events if isinstance(event, ChunkDone)]
    assert len(latents) == 7
    assert kv_bytes_alive() == 0
    del latents
    assert tensor_bytes_alive() == before


@keeps(KEEPS)
@pytest.mark.parametrize("stop_after", [1, 4, 13])
def test_nothing_is_left_after_the_generator_is_closed(stream, keep, stop_after):
    before = tensor_bytes_alive()
    events = stream(keep)
    for _ in range(stop_after):
        next(events)
    assert kv_bytes_alive() > 0
    events.close()
    assert kv_bytes_alive() == 0
    assert tensor_bytes_alive() == before


@keeps(KEEPS)
def test_nothing_is_left_after_the_consumer_fails(stream, keep):
    def consume():
        for event in stream(keep):
            if isinstance(event, ChunkDone) and event.clock.chunk == 2:
                assert kv_bytes_alive() > 0
                raise InterruptedError

    with contextlib.suppress(InterruptedError):
        consume()
    assert kv_bytes_alive() == 0


@keeps(KEEPS)
@pytest.mark.parametrize("place", ["text_embedding", "blocks.1.ffn", "head.head"])
def test_nothing_is_left_after_an_error_inside_the_model(stream, tiny_wan, keep, place):
    calls = iter(range(100))

    def fail(*_):
        if place == "text_embedding" or next(calls) == 7:
            raise MemoryError("no room")

    def consume():
        with contextlib.suppress(MemoryError):
            for _ in stream(keep):
                pass
            pytest.fail("the hook did not fire")

    hook = tiny_wan.get_submodule(place).register_forward_hook(fail)
    try:
        consume()
    finally:
        hook.remove()
    assert kv_bytes_alive() == 0


@pytest.mark.parametrize("size", [21, 30])
@pytest.mark.parametrize("sink", [0, 3, 5])
def test_a_window_as_long_as_the_video_is_dense(video, sink, size):
    torch.testing.assert_close(video(Window(sink, size)), video(Dense()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("keep", [Window(0, 6), Window(3, 18), DummyForcing()], ids=repr)
def test_a_shorter_context_is_not_dense_but_begins_like_it(video, keep):
    """The first two chunks have read everything in every method here."""
    cut, dense = video(keep), video(Dense())
    torch.testing.assert_close(cut[:, :, :6], dense[:, :, :6], atol=1e-5, rtol=0)
    assert (cut - dense)[:, :, -3:].abs().max() > 1e-3


def test_dummy_forcing_that_cuts_nothing_is_dense(video):
    dense = video(Dense())
    nothing_cut = DummyForcing(dummy_ratio=0, local_context=None)
    long_dummies = DummyForcing(dummy_ratio=1, packed_frames=21)
    for keep in (nothing_cut, long_dummies):
        torch.testing.assert_close(video(keep), dense, atol=1e-5, rtol=0)


def test_all_dummies_with_packed_frames_are_a_window(video):
    """Once both have dropped frames: chunk 2 is the first to be read under the roles."""
    roles = ((2,) * 4,) * 2
    packed = video(DummyForcing(roles=roles, packed_frames=3, classification_chunk=0))
    torch.testing.assert_close(packed, video(Window(0, 6)), atol=1e-5, rtol=0)


@keeps(KEEPS)
def test_a_bounded_video_is_the_beginning_of_an_endless_one(stream, video, collect_latents, keep):
    endless, chunks = stream(keep, None), []
    while len(chunks) < 7:
        event = next(endless)
        if isinstance(event, ChunkDone):
            chunks.append(event)
    endless.close()
    torch.testing.assert_close(collect_latents(chunks), video(keep), atol=1e-5, rtol=0)


class SlicedNoise:
    """One item of a batch's noise."""

    def __init__(self, item):
        self.item = item

    def draw(self, chunk, pass_index, shape):
        return SeededNoise(0).draw(chunk, pass_index, (2, *shape[1:]))[self.item : self.item + 1]


GIVEN_ROLES = DummyForcing(roles=((0, 1, 2, 1), (2, 2, 0, 1)))


@pytest.mark.parametrize("keep", [Dense(), Window(1, 7), GIVEN_ROLES], ids=["dense", "window", "given roles"])
def test_a_batch_is_its_items(video, prompt, keep):
    text = prompt(batch=2)
    together = video(keep, text=text)
    alone = [video(keep, text=text[i : i + 1], noise=SlicedNoise(i)) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_a_batch_is_classified_by_the_mean_of_its_masses(stream, prompt):
    """All items share one set of roles; see `DummyForcing`."""
    recorder = MassRecorder(2, row_fraction=0.25, seed=0, wants=lambda clock: clock.clean and clock.chunk == 1)
    events = list(stream(DummyForcing(), 9, text=prompt(batch=2)))
    list(stream(Dense(), 9, text=prompt(batch=2), observers=(recorder,)))
    (classified,) = [event for event in events if isinstance(event, HeadsClassified)]
    masses = recorder.masses(1, 2)
    assert masses.shape == (2, 2, 4, 3)
    torch.testing.assert_close(classified.masses, masses.mean(0), atol=1e-6, rtol=0)
    assert torch.equal(classified.roles, program_heads(masses.mean(0), 0.5))


@pytest.mark.parametrize("cost", ["normalised", "paper"])
def test_online_roles_given_back_make_the_same_video(stream, video, collect_latents, cost):
    """A profile of a run reproduces it."""
    events = list(stream(DummyForcing(0.25, cost=cost)))
    (classified,) = [event for event in events if isinstance(event, HeadsClassified)]
    given = DummyForcing(roles=tuple(map(tuple, classified.roles.tolist())))
    torch.testing.assert_close(collect_latents(events), video(given), atol=1e-5, rtol=0)


@keeps(KEEPS)
def test_the_seed_decides_the_video_and_no_global_generator_is_touched(video, keep):
    torch.manual_seed(123)
    state = torch.get_rng_state()
    one = video(keep, noise=SeededNoise(5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(321)
    assert torch.equal(video(keep, noise=SeededNoise(5)), one)
    assert (video(keep, noise=SeededNoise(6)) - one).abs().mean() > 0.1


@keeps(KEEPS)
def test_bf16_follows_fp32(tiny_wan, video, prompt, keep):
    """No fp32 tensor is mixed in by mistake, and nothing but rounding comes between the two."""
    half = copy.deepcopy(tiny_wan).bfloat16()
    rounded = copy.deepcopy(half).float()
    text = prompt().bfloat16()
    short = video(keep, 9, model=half, text=text)
    assert short.dtype == torch.bfloat16
    assert (short.float() - video(keep, 9, model=rounded, text=text.float())).abs().mean() < 0.02
