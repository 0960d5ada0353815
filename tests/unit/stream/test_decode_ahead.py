"""Decoding beside sampling: order, bounds, errors, no thread left behind."""

import threading
import time

import pytest
import torch

from dummy_forcing.core.decoders.decode_ahead import DecodeAhead
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.rollout import ImageAnchor
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

WAIT = 10  # seconds until a test that hangs fails


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanVAE(WanVAEShape(width=8)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def chunks():
    return torch.randn(1, 16, 8, 2, 2, generator=torch.Generator().manual_seed(1)).split(2, dim=2)


@pytest.fixture(params=[False, True], ids=["in place", "overlapped"])
def overlap(request):
    return request.param


@pytest.fixture(autouse=True)
def no_thread_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_all_frames_in_order(vae, chunks, overlap):
    plain, seen = StreamingDecoder(vae), []
    ahead = DecodeAhead(StreamingDecoder(vae), overlap)
    for chunk in chunks:
        ahead.add(chunk, seen.append)
    ahead.wait()
    assert [frames.shape[1] for frames in seen] == [5, 8, 8, 8]
    assert all(torch.equal(frames, plain.decode(chunk)) for frames, chunk in zip(seen, chunks, strict=True))
    ahead.close()


def test_on_a_cpu_nothing_overlaps_unless_asked(vae, chunks):
    sinks, ahead = [], DecodeAhead(StreamingDecoder(vae))
    ahead.add(chunks[0], lambda frames: sinks.append(threading.current_thread()))
    assert sinks == [threading.current_thread()]
    ahead.close()


def test_modules_are_called_in_the_callers_thread(chunks):
    """ComfyUI's layers look for its stop button, and expect the thread that samples."""
    module, seen = WanVAE(WanVAEShape(width=4)).eval().requires_grad_(False), set()
    module.conv2.register_forward_pre_hook(lambda *_: seen.add(threading.current_thread()))
    ahead = DecodeAhead(StreamingDecoder(module), overlap=True)
    ahead.add(chunks[0], lambda frames: None)
    ahead.close()
    assert seen == {threading.current_thread()}


def test_the_caller_goes_on_with_one_chunk_under_way(vae, chunks):
    """The second chunk may not even begin before the first has been handed on."""
    may_end, entered, seen = threading.Event(), threading.Event(), []
    ahead = DecodeAhead(StreamingDecoder(vae), overlap=True)

    def slow(frames):
        entered.set()
        assert may_end.wait(WAIT)
        seen.append("first")

    ahead.add(chunks[0], slow)  # returns although the sink waits
    assert entered.wait(WAIT) and not seen
    threading.Timer(0.05, may_end.set).start()
    ahead.add(chunks[1], lambda frames: seen.append("second"))
    assert seen[:1] == ["first"]
    ahead.wait()
    assert seen == ["first", "second"]
    ahead.close()
    time.sleep(0.05)  # the timer's thread


def disk_full(frames):
    raise DummyForcingError("the disk is full")


def test_errors_reach_the_caller(vae, chunks, overlap):
    ahead = DecodeAhead(StreamingDecoder(vae), overlap)
    with pytest.raises(DummyForcingError, match="the disk is full"):
        ahead.add(chunks[0], disk_full)
        ahead.add(chunks[1], pytest.fail)  # not a frame more
    ahead.close()


def test_an_error_in_the_last_chunk(vae, chunks):
    ahead = DecodeAhead(StreamingDecoder(vae), overlap=True)
    ahead.add(chunks[0], disk_full)
    with pytest.raises(DummyForcingError, match="the disk is full"):
        ahead.wait()
    ahead.close()


def test_what_the_decoder_refuses(vae, overlap):
    ahead = DecodeAhead(StreamingDecoder(vae), overlap)
    with pytest.raises(DummyForcingError, match="cannot be decoded"):
        ahead.add(torch.zeros(16, 1, 2, 2), pytest.fail)
        ahead.wait()
    ahead.close()


def test_closing_keeps_the_chunk_under_way_and_frees_the_decoder(vae, chunks, overlap):
    """After an interrupt: what is finished is not lost."""
    decoder, seen = StreamingDecoder(vae), []
    ahead = DecodeAhead(decoder, overlap)
    ahead.add(chunks[0], seen.append)
    ahead.close()
    assert len(seen) == 1 and decoder.bytes == 0


def test_an_anchor_waits_for_the_frames_that_it_needs(vae, chunks):
    """The first context frame of a rollout is decoded and encoded anew, whoever decodes it when."""
    context = torch.cat(chunks[:2], dim=2)

    def encode(frame):
        return frame.movedim(-1, 1).mean((3, 4), keepdim=True).repeat(1, 6, 1, 2, 2)[:, :16]

    def anchored(overlap):
        ahead = DecodeAhead(StreamingDecoder(vae), overlap)
        anchor = ImageAnchor(encode, 4, ahead.wait)
        for chunk in chunks[:2]:
            ahead.add(chunk, anchor.add)
        found = anchor.apply(context)
        ahead.close()
        return found

    assert torch.equal(anchored(True), anchored(False))
    assert not torch.equal(anchored(False), context)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("own_stream", [True, False])
def test_on_a_gpu_frames_are_the_same(vae, chunks, own_stream):
    module = WanVAE(vae.shape).eval().requires_grad_(False)
    module.load_state_dict(vae.state_dict())
    on_gpu = [chunk.cuda() for chunk in chunks]
    plain, seen = StreamingDecoder(module.cuda()), []
    expected = [plain.decode(chunk) for chunk in on_gpu]
    ahead = DecodeAhead(StreamingDecoder(module), own_stream=own_stream)
    for chunk in on_gpu:
        ahead.add(chunk.clone(), seen.append)  # the copy is let go at once
        torch.cuda.current_stream().synchronize()
        torch.randn(2**24, device="cuda")  # somebody else wants memory
    ahead.wait()
    ahead.close()
    for frames, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(frames, other, atol=1e-4, rtol=0)
