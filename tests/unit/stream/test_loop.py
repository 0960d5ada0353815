"""The chunk loop: events, noise, the update rule, validation and clean ends."""

import gc
import time
import weakref

import pytest
import torch
from list_memory import ListMemory

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified, PassDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.wan.forward import encode_prompt, forward_chunk

SIGMAS = (1.0, 0.9, 0.5, 0.0)
TEXT = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))


def config(**changes):
    values = {"sigmas": SIGMAS, "chunk_frames": 3, "total_frames": 9, "latent_size": (4, 6), "channels": 4}
    return StreamConfig(**{**values, **changes})


class RecordedNoise(SeededNoise):
    """Also says what was drawn."""

    def __init__(self, seed):
        super().__init__(seed)
        self.drawn = []

    def draw(self, chunk, pass_index, shape):
        self.drawn.append((chunk, pass_index, shape))
        return super().draw(chunk, pass_index, shape)


def stream(model, noise=None, observers=(), text=TEXT, **changes):
    return stream_video(model, text, config(**changes), noise or SeededNoise(0), observers)


@torch.no_grad()
def literal_video(model, noise, chunks):
    """In eleven lines: docs/references.md, "Self-Forcing's loop"."""
    memory, prompt, shape, video = ListMemory(), encode_prompt(model, TEXT), (1, 4, 3, 4, 6), []
    for chunk in range(chunks):
        clock = ChunkClock(chunk, 3 * chunk, 3, 6, 0, 0.0, False)
        x = noise.draw(chunk, 0, shape)
        for index, sigma in enumerate(SIGMAS[:-1]):
            x = x - sigma * forward_chunk(model, x, torch.tensor([1000 * sigma]), prompt, memory, clock)
            if SIGMAS[index + 1]:
                x = x + SIGMAS[index + 1] * (noise.draw(chunk, index + 1, shape) - x)
        forward_chunk(model, x, torch.zeros(1), prompt, memory, clock)
        memory.commit()
        video.append(x)
    return torch.cat(video, dim=2)


def test_the_loop_is_the_literal_one(tiny_wan):
    found = torch.cat([e.latents for e in stream(tiny_wan) if isinstance(e, ChunkDone)], dim=2)
    torch.testing.assert_close(found, literal_video(tiny_wan, SeededNoise(0), 3), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("total", [1, 2, 4, 8])
@pytest.mark.parametrize("keep", [Dense(), Window(1, 4), DummyForcing(dummy_ratio=0.5)])
def test_a_shorter_last_chunk_leaves_the_ones_before_it_as_they_are(tiny_wan, total, keep):
    """Frames, positions, passes and what a memory has room for."""
    memory = MemoryConfig(keep)
    events = list(stream(tiny_wan, total_frames=total, ragged=True, memory=memory))
    done = [event for event in events if isinstance(event, ChunkDone)]
    whole = [event for event in stream(tiny_wan, total_frames=9, memory=memory) if isinstance(event, ChunkDone)]
    assert [event.clock.frames for event in done] == [3] * (total // 3) + [total % 3] * bool(total % 3)
    assert done[-1].clock.end_frame == total and done[-1].latents.isfinite().all()
    for found, expected in zip(done[: total // 3], whole, strict=False):
        assert torch.equal(found.latents, expected.latents)
    made = config(total_frames=total, ragged=True)
    assert made.total_passes == sum(isinstance(event, PassDone) for event in events) == 4 * made.total_chunks


def test_noise_that_is_left_at_the_end(tiny_wan):
    """(1 - sigma) * x0 + sigma * noise of the next pass, in every chunk."""
    estimates = {}
    for event in stream(tiny_wan, sigmas=(1.0, 0.9, 0.5)):
        if isinstance(event, PassDone):
            estimates[event.clock.chunk, event.clock.pass_index] = event.estimate
        else:
            chunk = event.clock.chunk
            fresh = SeededNoise(0).draw(chunk, 2, (1, 4, 3, 4, 6))
            torch.testing.assert_close(event.latents, 0.5 * estimates[chunk, 1] + 0.5 * fresh)


def test_events_come_in_order_with_their_clocks(tiny_wan):
    events = list(stream(tiny_wan))
    assert [type(event) for event in events] == [PassDone, PassDone, PassDone, PassDone, ChunkDone] * 3
    for index, event in enumerate(events):
        chunk, place = divmod(index, 5)
        last = place >= 3
        expected = ChunkClock(chunk, 3 * chunk, 3, 6, min(place, 3), SIGMAS[min(place, 3)], last)
        assert event.clock == expected
        assert list(event.clock.positions) == [3 * chunk, 3 * chunk + 1, 3 * chunk + 2]
    assert {event.passes for event in events if isinstance(event, PassDone)} == {4}


def test_a_chunk_reports_latents_time_bytes_and_history(tiny_wan):
    for event in stream(tiny_wan, text=TEXT.expand(2, -1, -1)):
        if isinstance(event, ChunkDone):
            assert event.latents.shape == (2, 4, 3, 4, 6)
            assert event.latents.dtype == torch.float32
            assert event.latents.isfinite().all()
            assert event.seconds > 0
            assert event.kv_bytes == 2 * 4 * 2 * 2 * (9 * 6) * 48  # k and v, fp32, batch, layers, tokens, width
            assert event.history_frames == 3 * (event.clock.chunk + 1)


def test_time_between_events_is_not_counted(tiny_wan):
    began, waited = time.perf_counter(), 0.0
    for event in stream(tiny_wan, total_frames=3):
        if isinstance(event, PassDone):
            paused = time.perf_counter()
            time.sleep(0.05)
            waited += time.perf_counter() - paused
    assert event.seconds <= time.perf_counter() - began - waited


@pytest.mark.parametrize("chunk", [1, 2])
def test_heads_are_announced_once_before_their_chunk_is_done(tiny_wan, chunk):
    keep = DummyForcing(classification_chunk=chunk)
    events = list(stream(tiny_wan, total_frames=15, memory=MemoryConfig(keep)))
    kinds = [type(event) for event in events]
    assert kinds.count(HeadsClassified) == 1
    place = kinds.index(HeadsClassified)
    assert place == 5 * chunk + 4
    assert events[place - 1].clock == events[place + 1].clock
    assert events[place + 1].clock.chunk == chunk
    assert events[place].roles.shape == (2, 4)
    assert events[place].masses.shape == (2, 4, 3)


def test_a_video_that_ends_before_classification_has_no_roles(tiny_wan):
    events = list(stream(tiny_wan, memory=MemoryConfig(DummyForcing(classification_chunk=3))))
    assert not any(isinstance(event, HeadsClassified) for event in events)


def test_noise_is_drawn_for_the_start_and_between_passes_only(tiny_wan):
    noise = RecordedNoise(0)
    list(stream(tiny_wan, noise))
    shape = (1, 4, 3, 4, 6)
    assert noise.drawn == [(chunk, index, shape) for chunk in range(3) for index in range(3)]


def test_one_step_needs_no_fresh_noise(tiny_wan):
    noise = RecordedNoise(0)
    events = list(stream(tiny_wan, noise, sigmas=(1.0, 0.0), total_frames=3))
    assert [type(event) for event in events] == [PassDone, PassDone, ChunkDone]
    assert [key[:2] for key in noise.drawn] == [(0, 0)]


def test_the_prompt_is_encoded_once_a_video(tiny_wan):
    calls = []
    layers = (tiny_wan.text_embedding, tiny_wan.blocks[0].cross_attn.k, tiny_wan.blocks[1].cross_attn.v)
    hooks = [layer.register_forward_hook(lambda layer, *_: calls.append(layer)) for layer in layers]
    try:
        list(stream(tiny_wan))
    finally:
        for hook in hooks:
            hook.remove()
    assert calls == list(layers)


def test_observers_see_every_layer_of_the_passes_they_want(tiny_wan):
    seen = []

    class Observer:
        def wants(self, clock):
            return clock.clean or clock.chunk == 2

        def observe(self, layer, q, k, key_frames, clock):
            seen.append((clock.chunk, clock.pass_index, layer))
            assert list(key_frames) == list(range(3 * clock.chunk + 3))
            assert q.shape == (1, 18, 4, 12)
            assert k.shape == (1, 18 * (clock.chunk + 1), 4, 12)

    list(stream(tiny_wan, observers=(Observer(),)))
    passes = [(0, 3), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert seen == [(*place, layer) for place in passes for layer in range(2)]


def test_the_consumers_torch_modes_are_left_alone(tiny_wan):
    """Inference mode around a yield would leak into whatever the consumer does between events."""
    for _ in stream(tiny_wan):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
    with torch.no_grad():
        for _ in stream(tiny_wan):
            assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_no_gradients_are_recorded_even_for_a_trainable_model(tiny_wan):
    tiny_wan.requires_grad_(True)
    try:
        chunks = [event for event in stream(tiny_wan, total_frames=3) if isinstance(event, ChunkDone)]
    finally:
        tiny_wan.requires_grad_(False)
    assert not chunks[0].latents.requires_grad


def test_nothing_happens_before_the_first_event_is_asked_for(tiny_wan):
    noise = RecordedNoise(0)
    events = stream(tiny_wan, noise)
    assert not noise.drawn
    next(events)
    assert noise.drawn
    events.close()


def test_a_forgotten_generator_frees_its_memory(tiny_wan):
    events = stream(tiny_wan)
    next(events)
    gc.collect()
    stores = [weakref.ref(thing) for thing in gc.get_objects() if type(thing) is FrameStore]
    assert len(stores) == 2
    del events
    gc.collect()
    assert not any(store() for store in stores)


def test_two_videos_may_run_in_turn(tiny_wan):
    alone = list(stream(tiny_wan))
    for pair in zip(stream(tiny_wan), stream(tiny_wan), alone, strict=True):
        if isinstance(pair[0], ChunkDone):
            assert torch.equal(pair[0].latents, pair[2].latents)
            assert torch.equal(pair[1].latents, pair[2].latents)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": ()}, "use two noise levels or more that fall from at most 1"),
        ({"sigmas": (1.0,)}, "use two noise levels or more"),
        ({"sigmas": (0.0,)}, "use two noise levels or more"),
        ({"sigmas": (1.0, -0.5)}, "use two noise levels or more"),
        ({"sigmas": (1.1, 0.0)}, "use two noise levels or more"),
        ({"sigmas": (1.0, 0.5, 0.5, 0.0)}, "use two noise levels or more"),
        ({"sigmas": (0.5, 1.0, 0.0)}, "use two noise levels or more"),
        (
            {"sigmas": (0.0, 9.999999e-05, 1.0)},
            "noise levels are 0, 0.0001, 1; remove FlipSigmas (ComfyUI), or use two noise levels",
        ),
        ({"sigmas": (0.5,) * 7}, "are 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, ... (7 in all); use two"),
        ({"sigmas": (float("nan"), 0.0)}, "use two noise levels or more"),
        ({"chunk_frames": 0}, "chunks of 0 latent frames: expected at least 1"),
        ({"total_frames": 0}, "a length of 0 latent frames cannot be cut into chunks of 3"),
        ({"total_frames": -3}, "use 3 or 6 latent frames, which are 9 or 21 video frames"),
        (
            {"total_frames": 10},
            "cannot be cut into chunks of 3; use 9 or 12 latent frames, which are 33 or 45 video frames",
        ),
        ({"total_frames": 0, "ragged": True}, "use 3 or 6 latent frames"),
        ({"total_frames": 10, "ragged": True, "rolling": True}, "use 9 or 12 latent frames"),
        ({"sigmas": (1.0, 0.5), "rolling": True}, "Rolling Forcing's chunks"),
        ({"sigmas": (1.0, 0.5), "context_noise": 0.1, "refine": True}, "end with 0 or turn refining off"),
        ({"latent_size": (5, 6)}, "a latent size of (5, 6) does not fit 2 x 2 patches"),
        ({"latent_size": (4, 0)}, "multiples of 16 pixels"),
    ],
)
def test_invalid_configurations(changes, message):
    with pytest.raises(DummyForcingError) as error:
        config(**changes)
    assert message in str(error.value)


def test_a_configuration_is_dense_by_default_and_counts_tokens():
    assert config().memory == MemoryConfig(Dense())
    assert config(latent_size=(60, 104)).video_shape(1, 1).tokens_per_frame == 1560


def test_an_invalid_memory_is_reported_before_the_first_pass(tiny_wan):
    noise = RecordedNoise(0)
    memory = MemoryConfig(DummyForcing(roles=((0, 1, 2),)))
    with pytest.raises(DummyForcingError, match="1 x 3 roles but the model has 2 layers x 4 heads"):
        next(stream(tiny_wan, noise, memory=memory))
    assert not noise.drawn
