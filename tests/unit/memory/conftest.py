"""A stream over the tiny model, and a memory driven by hand."""

import math

import pytest
import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.rope import rope_rotations
from dummy_forcing.kernels.norm_rope import apply_rope


@pytest.fixture
def stream(tiny_wan):
    """A function that starts a small video and returns its events."""

    def start(
        keep,
        total_frames=21,
        *,
        model=tiny_wan,
        noise=None,
        text=None,
        observers=(),
        sigmas=(1.0, 0.6, 0.0),
        **slots,
    ):
        config = StreamConfig(sigmas, 3, total_frames, (4, 4), channels=4, memory=MemoryConfig(keep, **slots))
        text = make_text() if text is None else text
        return stream_video(model, text, config, noise or SeededNoise(0), observers)

    return start


@pytest.fixture
def video(stream):
    """A function that runs a small video to its end and returns the latents."""

    def run(keep, total_frames=21, **options):
        return collect(stream(keep, total_frames, **options))

    return run


@pytest.fixture
def collect_latents():
    return collect


def collect(events):
    return torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)


def make_text(batch=1, seed=1):
    return torch.randn(batch, 5, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def prompt():
    """A function that makes a random text embedding for the tiny model."""
    return make_text


class HandDriven:
    """A `Memory` fed with random K/V, next to a list of every frame that was ever committed."""

    batch, head_dim, tokens = 2, 4, 2

    def __init__(self, keep, *, layers=1, heads=4, chunk_frames=3, total_frames=None, seed=0, observers=()):
        video = VideoShape(
            layers,
            heads,
            chunk_frames,
            total_frames,
            batch=self.batch,
            grid=(1, self.tokens),
            head_dim=self.head_dim,
        )
        self.layers, self.heads, self.chunk_frames = layers, heads, chunk_frames
        self.memory = MemoryConfig(keep).begin(video, observers)
        self.chunk = 0
        self.committed = [[] for _ in range(layers)]
        self._generator = torch.Generator().manual_seed(seed)

    def random(self, frames):
        size = (self.batch, frames * self.tokens, self.heads, self.head_dim)
        return torch.randn(size, generator=self._generator)

    def clock(self, *, clean=True):
        return ChunkClock(
            self.chunk, self.chunk * self.chunk_frames, self.chunk_frames, self.tokens, int(clean), 0.0, clean
        )

    def attend(self, *, clean=True):
        """One pass over all layers: per layer q, k, v and what the memory made of them."""
        passes = []
        for layer in range(self.layers):
            q, k, v = (self.random(self.chunk_frames) for _ in range(3))
            passes.append((q, k, v, self.memory.attend(layer, q, k, v, self.clock(clean=clean))))
        return passes

    def step(self):
        """A noisy pass, a clean pass and a commit; returns the clean pass."""
        self.attend(clean=False)
        passes = self.attend()
        self.memory.commit(self.clock())
        for layer, (_, k, v, _) in enumerate(passes):
            frames = zip(k.split(self.tokens, dim=1), v.split(self.tokens, dim=1), strict=True)
            self.committed[layer].extend(frames)
        self.chunk += 1
        return passes

    def expected(self, layer, head, q, k, v, context):
        """Attention of one head over the committed frames of `context` and the chunk itself."""
        frames = [self.committed[layer][frame] for frame in context]
        keys = torch.cat([*(frame[0] for frame in frames), k], dim=1)[:, :, head]
        values = torch.cat([*(frame[1] for frame in frames), v], dim=1)[:, :, head]
        weights = (q[:, :, head] @ keys.transpose(1, 2) / self.head_dim**0.5).softmax(dim=-1)
        return weights @ values


@pytest.fixture
def hand_driven():
    return HandDriven


class Roped:
    """A `Memory` fed through real RoPE, next to every un-roped frame that it was given.

    `frames` maps latent frame -> un-roped k and v [B, tokens, H, D]. Frames are given in passes of any length.
    """

    batch, head_dim, grid = 2, 12, (1, 2)
    tokens = 2

    def __init__(
        self, config, *, heads=2, chunk_frames=3, pass_frames=None, total=None, dtype=torch.float32, seed=0
    ):
        video = VideoShape(
            1,
            heads,
            chunk_frames,
            total,
            longest_pass=pass_frames,
            batch=self.batch,
            grid=self.grid,
            head_dim=self.head_dim,
            dtype=dtype,
        )
        self.heads, self.chunk_frames, self.dtype = heads, chunk_frames, dtype
        self.seen = SeenKeys()
        self.memory = config.begin(video, [self.seen])
        self.frames = {}
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, frames):
        """Un-roped q, k and v of a pass."""
        size = (self.batch, frames * self.tokens, self.heads, self.head_dim)
        return tuple(torch.randn(size, generator=self._generator).to(self.dtype) for _ in range(3))

    def clock(self, start, frames, *, clean=True):
        return ChunkClock(start // self.chunk_frames, start, frames, self.tokens, int(clean), 0.0, clean)

    def attend(self, start, qkv, *, clean=True):
        """One pass that begins at a frame -> [B, L, H, D]."""
        q, k, v = qkv
        frames = q.shape[1] // self.tokens
        places = range(start, start + frames)
        return self.memory.attend(
            0, self.rope(q, places), self.rope(k, places), v, self.clock(start, frames, clean=clean)
        )

    def commit(self, start, qkv):
        """The clean pass over a chunk; returns its output."""
        out = self.attend(start, qkv)
        _, k, v = qkv
        frames = k.shape[1] // self.tokens
        self.memory.commit(self.clock(start, frames))
        pairs = zip(k.split(self.tokens, dim=1), v.split(self.tokens, dim=1), strict=True)
        self.frames.update(zip(range(start, start + frames), pairs, strict=True))
        return out

    def rope(self, x, places):
        return apply_rope(x, rope_rotations(places, *self.grid, self.head_dim))

    def literal(self, head, qkv, place, context):
        """Attention of one head: `context` lists (place, k, v) of un-roped frames, the pass begins at `place`."""
        q, k, v = (each[:, :, head : head + 1].double() for each in qkv)
        own = range(place, place + q.shape[1] // self.tokens)
        keys = [*(self._rope64(kept[:, :, head : head + 1], [at]) for at, kept, _ in context), self._rope64(k, own)]
        values = torch.cat([*(kept[:, :, head : head + 1].double() for _, _, kept in context), v], dim=1)
        keys, q = torch.cat(keys, dim=1), self._rope64(q, own)
        weights = (q[:, :, 0] @ keys[:, :, 0].transpose(1, 2) / self.head_dim**0.5).softmax(dim=-1)
        return weights @ values[:, :, 0]

    def _rope64(self, x, places):
        """RoPE in fp64, by its definition: angle = place * 10000 ** (-2 i / channels), axis by axis."""
        _, columns = self.grid
        spatial = 2 * (self.head_dim // 6)
        out = []
        for at, frame in zip(places, x.double().split(self.tokens, dim=1), strict=True):
            for token in range(self.tokens):
                vector, first = frame[:, token], 0
                for place, channels in (
                    (at, self.head_dim - 2 * spatial),
                    (token // columns, spatial),
                    (token % columns, spatial),
                ):
                    for index in range(0, channels, 2):
                        angle = place * 10000.0 ** (-index / channels)
                        a, b = vector[..., first], vector[..., first + 1]
                        out.append(a * math.cos(angle) - b * math.sin(angle))
                        out.append(a * math.sin(angle) + b * math.cos(angle))
                        first += 2
        stacked = torch.stack(out, dim=-1)  # [B, H, places * tokens * D]
        return stacked.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class SeenKeys:
    """An observer that keeps the keys of the last clean pass, as they were read."""

    def __init__(self):
        self.on, self.keys = False, None

    def wants(self, clock):
        return self.on and clock.clean

    def observe(self, layer, q, k, key_frames, clock):
        self.keys = k.clone()


@pytest.fixture
def roped():
    return Roped
