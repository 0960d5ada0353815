"""A slow model without any cache, to check the loops against."""

import pytest
import torch
import torch.nn.functional as F

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.wan.forward import encode_prompt, forward_chunk

SIZE, CHANNELS = (4, 4), 4
TOKENS = 4  # of a frame


class Slow:
    """Runs passes over a list of context frames that the test computes afresh and picks itself.

    A context frame is a list of (keys, values) per layer, keys roped at the position it was computed at.
    """

    def __init__(self, model):
        self.model = model

    def shape(self, frames):
        return (1, CHANNELS, frames, *SIZE)

    @torch.no_grad()
    def run(self, x, sigmas, start, text, context=()):
        """One pass over x at RoPE position `start`; sigmas is a number, or one a frame.

        Returns the clean latents predicted and the pass's own frames for use as context.
        """
        frames = x.shape[2]
        levels = torch.tensor([sigmas] * frames if isinstance(sigmas, float) else sigmas)
        clock = ChunkClock(0, start, frames, TOKENS, 0, 0.0, False)
        reader = _Reader(context)
        flow = forward_chunk(self.model, x, 1000 * levels[None], encode_prompt(self.model, text), reader, clock)
        parts = [[(k, v) for k, v in zip(*(t.split(TOKENS, 1) for t in kv), strict=True)] for kv in reader.seen]
        return x - levels.view(1, 1, -1, 1, 1) * flow, [list(layers) for layers in zip(*parts, strict=True)]

    def clean(self, chunks, text, start=0, window=None, sink=0, noise=None):
        """Frames of finished chunks, computed one by one; each reads those before it, or the newest `window`."""
        found = []
        for chunk in chunks:
            _, own = self.run(chunk, 0.0, start + len(found), text, newest(found, window, sink))
            found += own
        return found


class _Reader:
    def __init__(self, context):
        self.context, self.seen = context, []

    def attend_prompt(self, layer, q, k, v, clock, dense):
        return dense(q, k, v)

    def attend(self, layer, q, k, v, clock, norm_rope, dense):
        q, k = norm_rope(q, k)
        assert layer == len(self.seen)
        self.seen.append((k, v))
        keys, values = (torch.cat([*(f[layer][i] for f in self.context), own], 1) for i, own in enumerate((k, v)))
        return F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, keys, values))).transpose(1, 2)


def newest(frames, count, sink=0):
    """The newest `count` frames and the first `sink` ones, each once."""
    if count is None:
        return frames
    begin = max(0, len(frames) - count)
    return [*frames[: min(sink, begin)], *frames[begin:]]


def moved(frame, by):
    """A context frame as if it had been computed at a position `by` later: time channels turn, nothing else."""
    head_dim = frame[0][0].shape[-1]
    channels = head_dim - 4 * (head_dim // 6)
    turn = torch.exp(1j * by * 10000.0 ** -(torch.arange(0, channels, 2).double() / channels))
    layers = []
    for k, v in frame:
        pairs = torch.view_as_complex(k[..., :channels].double().unflatten(-1, (-1, 2))) * turn
        time = torch.view_as_real(pairs).flatten(-2).to(k)
        layers.append((torch.cat([time, k[..., channels:]], -1), v))
    return layers


@pytest.fixture
def slow(tiny_wan):
    return Slow(tiny_wan)


@pytest.fixture
def keep_newest():
    return newest


@pytest.fixture
def move_frame():
    return moved


@pytest.fixture
def latents_of():
    """A function: the video of a list of events."""
    return lambda events: torch.cat([e.latents for e in events if isinstance(e, ChunkDone)], dim=2)


@pytest.fixture
def make_text():
    """A function: a random prompt embedding for the tiny model."""
    return lambda seed: torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(seed))
