"""What takes turns: a chunk behind a filled history, a whole clip, the decoder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..clock import ChunkClock
from ..decoders.streaming import StreamingDecoder
from ..memory.memory import Memory
from ..methods.base import KeepMethod
from ..methods.dummy_forcing import Roles
from ..methods.pass_skip.run import PassSkipRun
from ..stream.config import StreamConfig
from ..stream.denoiser import timesteps_for
from ..stream.events import ChunkDone, Event, HeadsClassified, PassDone
from ..stream.loop import stream_video
from ..stream.noise import SeededNoise
from ..wan.forward import PromptKV, encode_prompt, forward_chunk
from ..wan.shape import TEXT_TOKENS
from .resources import process_bytes
from .setting import BenchSetting
from .timing import Stopwatch, TimedMemory
from .typed_memories import BenchPolicy


@dataclass(frozen=True)
class PassTime:
    """One pass. `attention_seconds`: the part spent in self-attention (`TimedMemory`), None where not measured."""

    seconds: float
    attention_seconds: float | None = None
    skipped: bool = False


@dataclass(frozen=True)
class ChunkTime:
    """One chunk; `passes` has a single entry for all passes if these were not measured one by one."""

    chunk: int
    passes: tuple[PassTime, ...]
    kv_bytes: int | None = None
    process_bytes: int | None = None
    passes_skipped: int = 0


@dataclass(frozen=True)
class VideoSample:
    """What was measured in one go: the chunks, the roles heads got and the seconds it took to find them."""

    chunks: tuple[ChunkTime, ...]
    roles: Roles | None = None
    classification_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class BenchModel:
    """A backbone with random weights and a random text [1, L, D]."""

    backbone: nn.Module
    text: Tensor

    @classmethod
    def of(cls, backbone: nn.Module, setting: BenchSetting) -> BenchModel:
        generator = torch.Generator().manual_seed(setting.seed)
        text = torch.randn(1, TEXT_TOKENS, setting.shape.wan.text_dim, generator=generator)
        return cls(backbone, text.to(setting.device, setting.dtype))


class ChunkSubject:
    """All passes of a video's last chunk, after a history that is random instead of computed.

    Times do not depend on what keys and values contain, so the earlier chunks are not run: their keys and values
    are drawn at random, written to the memory and committed chunk by chunk. All policies get the same ones.
    """

    def __init__(self, model: BenchModel, setting: BenchSetting, policy: BenchPolicy, length: int):
        self.name = policy.name
        self._model, self._setting = model, setting
        self._config = setting.stream(setting.given(policy.memory), length)
        with torch.inference_mode():
            self._prompt = encode_prompt(model.backbone, model.text)

    def sample(self) -> Iterator[None]:
        """A turn is a pass."""
        video = self._setting.video_shape(self._config.total_frames)
        memory = self._config.memory.begin(video)
        with contextlib.closing(memory):
            clock = self._fill(memory)
            run = _ChunkRun(self._model.backbone, self._prompt, memory, self._config, self._setting)
            passes = []
            for pass_clock in _pass_clocks(clock, self._config):
                passes.append(run.one_pass(pass_clock, self._noise(pass_clock)))
                yield
            taken = ChunkTime(
                clock.chunk,
                tuple(passes),
                memory.status.bytes,
                process_bytes(),
                sum(each.skipped for each in passes),
            )
        return VideoSample((taken,), _roles_of(self._config))

    @torch.inference_mode()
    def _fill(self, memory: Memory) -> ChunkClock:
        """Draw and commit all chunks but the last; returns the last chunk's clock."""
        *before, last = self._config.chunks()
        shape, like = self._setting.shape.wan, self._model.text
        generator = torch.Generator(like.device).manual_seed(self._setting.seed)
        query = like.new_zeros(
            1, 1, shape.heads, shape.head_dim
        )  # a single one: its attention costs next to nothing
        for clock in before:
            *_, clean = _pass_clocks(clock, self._config)
            for layer in range(shape.layers):
                size = (2, 1, self._setting.tokens, shape.heads, shape.head_dim)
                k, v = torch.randn(size, generator=generator, device=like.device, dtype=like.dtype)
                memory.attend(layer, query, k, v, clean)
            memory.commit(clean)
        return last

    def _noise(self, clock: ChunkClock) -> Tensor:
        size = (1, self._config.channels, clock.frames, *self._config.latent_size)
        noise = SeededNoise(self._setting.seed).draw(clock.chunk, clock.pass_index, size)
        return noise.to(self._setting.device, self._setting.dtype)


class _ChunkRun:
    """Timed passes over one chunk."""

    def __init__(
        self, backbone: nn.Module, prompt: PromptKV, memory: Memory, config: StreamConfig, setting: BenchSetting
    ):
        self._backbone, self._prompt, self._memory = backbone, prompt, memory
        self._runtime = setting.runtime
        self._timed = TimedMemory(memory, setting.device)
        self._watch = Stopwatch(setting.device)
        self._skip = None if config.skip is None else PassSkipRun(config.skip)

    @torch.inference_mode()
    def one_pass(self, clock: ChunkClock, x: Tensor) -> PassTime:
        """Time a pass over noise; the clean pass also commits its keys and values."""
        with self._watch.running():
            t = timesteps_for(clock, x)
            forward_chunk(self._backbone, x, t, self._prompt, self._timed, clock, self._runtime, self._skip)
            if clock.clean:
                self._memory.commit(clock)
        return PassTime(self._watch.seconds, self._timed.take(), self._skip is not None and self._skip.skipped)


class ClipSubject:
    """A whole video, as it is generated; heads are classified on the way."""

    def __init__(self, model: BenchModel, setting: BenchSetting, policy: BenchPolicy, length: int):
        self.name = policy.name
        self._model, self._setting = model, setting
        self._config = setting.stream(policy.memory, length)

    def sample(self) -> Iterator[None]:
        """A turn is a chunk."""
        scoring = _Scoring(self._config.memory.keep, self._setting, self._config.total_frames)
        noise = SeededNoise(self._setting.seed)
        observers = (scoring,) if scoring.chunk is not None else ()
        model, runtime = self._model, self._setting.runtime
        stream = stream_video(model.backbone, model.text, self._config, noise, observers, runtime)
        chunks, roles, skipped, seconds = [], None, 0, 0.0
        with contextlib.closing(stream):
            for event, took in _timed(stream):
                seconds += took
                if isinstance(event, PassDone):
                    skipped += event.skipped
                elif isinstance(event, HeadsClassified):
                    roles = tuple(map(tuple, event.roles.tolist()))
                elif isinstance(event, ChunkDone):
                    whole = (PassTime(seconds - scoring.take_observed()),)
                    chunks.append(ChunkTime(event.clock.chunk, whole, event.kv_bytes, process_bytes(), skipped))
                    skipped, seconds = 0, 0.0
                    yield
        return VideoSample(tuple(chunks), roles, scoring.total_seconds())


def _timed(stream: Iterator[Event]) -> Iterator[tuple[Event, float]]:
    """Events and the seconds that each took, drawing noise included.

    The device is not waited for here: the stream itself does that once per chunk.
    """
    while True:
        started = time.perf_counter()
        event = next(stream, None)
        if event is None:
            return
        yield event, time.perf_counter() - started


class _Scoring:
    """Classifies the heads of a Dummy Forcing video a second time, to measure what classification costs.

    `ClipSubject` subtracts the time of this second one from the chunk in which it happens.
    """

    def __init__(self, keep: KeepMethod, setting: BenchSetting, length: int):
        self._watch = Stopwatch(setting.device)
        self._observed = self._seconds = 0.0
        self.chunk = keep.measured_in(setting.video_shape(length))
        if self.chunk is not None:
            self._keep, self._pass = keep, setting.steps
            self._recorder = keep.scorer(setting.shape.wan.layers, self.wants)

    def wants(self, clock: ChunkClock) -> bool:
        """Whether this is the clean pass of the chunk that is scored."""
        return clock.clean and clock.chunk == self.chunk

    def observe(self, layer: int, q: Tensor, k: Tensor, key_frames, clock: ChunkClock) -> None:
        """Score a layer."""
        with self._watch.running():
            self._recorder.observe(layer, q, k, key_frames, clock)
        self._observed += self._watch.seconds
        self._seconds += self._watch.seconds

    def take_observed(self) -> float:
        """Seconds spent on scoring since the last call."""
        seconds, self._observed = self._observed, 0.0
        return seconds

    def total_seconds(self) -> float | None:
        """Scores and head programming together; None where nothing was scored."""
        if self.chunk is None or not self._recorder.recorded:
            return None
        with self._watch.running():
            self._keep.program(self._recorder.masses(self.chunk, self._pass).mean(0))
        return self._seconds + self._watch.seconds


class DecodeSubject:
    """A decoder on a chunk in the middle of a video."""

    def __init__(self, decoder: nn.Module, setting: BenchSetting, name: str = "decode"):
        self.name = name
        self._decoder, self._setting = decoder, setting

    def sample(self) -> Iterator[None]:
        """Two turns: the video's first chunk, untimed, and the next; returns seconds."""
        size = (1, self._setting.shape.vae.latent_channels, self._setting.chunk_frames, *self._setting.latent_size)
        noise, watch = SeededNoise(self._setting.seed), Stopwatch(self._setting.device)
        with contextlib.closing(StreamingDecoder(self._decoder)) as decoder:
            decoder.decode(noise.draw(0, 0, size))
            yield
            latents = noise.draw(1, 0, size).to(self._setting.device)
            with watch.running():
                decoder.decode(latents)
        return watch.seconds


def _pass_clocks(clock: ChunkClock, config: StreamConfig) -> Iterator[ChunkClock]:
    """The clock of every pass of a chunk; the clean one comes last."""
    for index, sigma in enumerate(config.sigmas_at(clock.chunk)):
        yield replace(clock, pass_index=index, sigma=sigma, clean=sigma == 0)


def _roles_of(config: StreamConfig) -> Roles | None:
    return getattr(config.memory.keep, "roles", None)
