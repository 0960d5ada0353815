"""A stream over the tiny model, and a memory driven by hand."""

import pytest
import torch

from dummy_forcing.core.memory.clock import ChunkClock
from dummy_forcing.core.memory.config import MemoryConfig
from dummy_forcing.core.memory.keep import KeepShape
from dummy_forcing.core.memory.memory import Memory
from dummy_forcing.core.memory.store import StoreLayout
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise


@pytest.fixture
def stream(tiny_wan):
    """A function that starts a small video and returns its events."""

    def start(
        keep, total_frames=21, *, model=tiny_wan, noise=None, text=None, observers=(), sigmas=(1.0, 0.6, 0.0)
    ):
        config = StreamConfig(sigmas, 3, total_frames, (4, 4), channels=4, memory=MemoryConfig(keep))
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
        layout = StoreLayout(
            self.batch, self.head_dim, self.tokens, chunk_frames, torch.float32, torch.device("cpu")
        )
        self.layers, self.heads, self.chunk_frames = layers, heads, chunk_frames
        self.memory = Memory(
            heads, layout, keep.begin(KeepShape(layers, heads, chunk_frames)), total_frames, observers
        )
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
