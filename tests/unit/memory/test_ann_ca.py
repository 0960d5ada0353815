"""AnnCA: tokens of the prompt that a frame's queries hit, the padding as one, the prompt hashed once."""

import json

import pytest
import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnCA
from dummy_forcing.core.methods.ann.search import SignHash
from dummy_forcing.core.methods.plain import AllTokens
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.kernels import attend_densely

FRAMES, TOKENS, HEADS = 3, 4, 2
CLOCK = ChunkClock(0, 0, FRAMES, TOKENS, 0, 1.0, False)


def draw(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def make_prompt(words=12, padding=8, batch=2):
    """Keys and values of a prompt [B, words + padding, H, D] whose padding is one token many times."""
    k, v = draw(2, batch, words + padding, HEADS, 16)
    for x in (k, v):
        x[:, words:] = x[:, words : words + 1].clone()
    return k, v


def test_keeping_every_token_is_dense_and_reads_the_padding_once():
    q, (k, v) = draw(2, FRAMES * TOKENS, HEADS, 16, seed=1), make_prompt()
    run = AnnCA(bits=3, radius=3).begin()
    out = run.attend(0, q, k, v, CLOCK, attend_densely)
    torch.testing.assert_close(out, attend_densely(q, k, v), atol=1e-5, rtol=0)
    assert int(run.count.read) / run.count.held == 13 / 20


def test_a_prompt_without_padding_is_dense_too():
    q, (k, v) = draw(2, FRAMES * TOKENS, HEADS, 16, seed=1), make_prompt(padding=0)
    out = AnnCA(bits=3, radius=3).begin().attend(0, q, k, v, CLOCK, attend_densely)
    torch.testing.assert_close(out, attend_densely(q, k, v), atol=1e-5, rtol=0)


@pytest.mark.parametrize("radius", [0, 1])
def test_a_frame_reads_the_tokens_that_its_queries_hit(radius):
    words, (k, v) = 12, make_prompt(batch=1)
    q, search = draw(1, FRAMES * TOKENS, HEADS, 16, seed=1), SignHash(4, radius, 3)
    out = AnnCA(4, radius, seed=3).begin().attend(0, q, k, v, CLOCK, attend_densely)
    for head in range(HEADS):
        of_tokens = search.codes((k[0, :words, head] - k[0, :words, head].mean(0))[None], (head,))[0].tolist()
        for frame in range(FRAMES):
            rows = slice(frame * TOKENS, (frame + 1) * TOKENS)
            hits = search.codes(q[0, rows, head][None], (head,))[0].tolist()
            kept = [t for t, c in enumerate(of_tokens) if any((c ^ hit).bit_count() <= radius for hit in hits)]
            kept += range(words, k.shape[1])
            expected = attend_densely(*(x[:, :, head : head + 1] for x in (q[:, rows], k[:, kept], v[:, kept])))
            torch.testing.assert_close(out[:, rows, head], expected[:, :, 0], atol=1e-5, rtol=0)


def test_a_prompt_is_hashed_once_for_each_layer_until_it_changes():
    run, q = AnnCA().begin(), draw(2, FRAMES * TOKENS, HEADS, 16, seed=1)
    k, v = make_prompt()
    first = run.attend(0, q, k, v, CLOCK, attend_densely)
    assert torch.equal(run.attend(0, q, k + 1, v, CLOCK, attend_densely), first), "the same prompt: hashed already"
    other = draw(2, 20, HEADS, 16, seed=7)
    assert not torch.equal(run.attend(1, q, other, v, CLOCK, attend_densely), first), "another layer's keys"
    run.change_prompt()
    assert not torch.equal(run.attend(0, q, other, v, CLOCK, attend_densely), first), "another prompt"


def test_off_is_what_the_model_runs_anyway():
    assert MemoryConfig().cross == AllTokens()
    q, (k, v) = draw(2, FRAMES * TOKENS, HEADS, 16, seed=1), make_prompt()
    assert torch.equal(AllTokens().begin().attend(0, q, k, v, CLOCK, attend_densely), attend_densely(q, k, v))


def test_videos_that_read_every_token_are_dense_ones(tiny_wan):
    text = draw(1, 9, 16, seed=1)
    text[:, 5:] = 0  # as umT5's embeddings are padded

    def video(config):
        stream = StreamConfig((1.0, 0.5, 0.0), 3, 6, (4, 4), channels=4, memory=config)
        events = stream_video(tiny_wan, text, stream, SeededNoise(0))
        return torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)

    dense = video(MemoryConfig())
    torch.testing.assert_close(video(MemoryConfig(cross=AnnCA(4, 4))), dense, atol=1e-5, rtol=0)
    assert not torch.allclose(video(MemoryConfig(cross=AnnCA(8))), dense, atol=1e-4)


def test_json_round_trip():
    config = MemoryConfig(cross=AnnCA(5, 1, 2))
    assert MemoryConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("options", [{"bits": 0}, {"bits": 11}, {"radius": -1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(DummyForcingError, match="expected 1 to 10 bits and a radius of 0 or more"):
        AnnCA(**options)
