"""Decoding and writing a chunk while the next one is sampled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ..broken import check_frames
from .streaming import StreamingDecoder


class DecodeAhead:
    """Decodes finished chunks and hands on their frames, in order, while the caller goes on with the next chunk.

    On a GPU the decoder's work is only queued, on a CUDA stream of its own, and a thread waits for the frames and
    hands them on. At most one chunk is in progress: `add` waits for the one before and raises its error, if any.
    Modules are called only in the caller's thread, as hosts expect.

    Args:
        decoder: closed together with this object.
        overlap: False does everything in `add`; the default is True on a GPU only. On a CPU decoding is always done
            when `add` returns, and only handing frames on can overlap.
        own_stream: False queues the decoder's work on the caller's stream, for hosts that move weights on it.
    """

    def __init__(
        self,
        decoder: StreamingDecoder,
        overlap: bool | None = None,
        own_stream: bool = True,
    ):
        self._decoder = decoder
        self._on_gpu = decoder.device.type == "cuda"
        overlap = self._on_gpu if overlap is None else overlap
        self._pool = ThreadPoolExecutor(1, "dummy-forcing-decode") if overlap else None
        self._stream = torch.cuda.Stream(decoder.device) if overlap and own_stream and self._on_gpu else None
        self._job: Future | None = None

    def add(self, latents: Tensor, sink: Callable[[Tensor], object]) -> None:
        """Take the clip's next latent frames.

        Args:
            latents: as for `StreamingDecoder.decode`; they must not be changed later.
            sink: takes their frames [B, T, H, W, 3], fp32 in [0, 1] on the CPU; with overlap called in the thread.

        Raises:
            BrokenVideoError: frames, perhaps of the chunk before, contain NaN.
        """
        if self._pool is None:
            sink(check_frames(self._decoder.decode(latents)))
            return
        self.wait()
        wait_for_frames = self._begin_on_gpu(latents) if self._on_gpu else self._decode(latents)
        self._job = self._pool.submit(lambda: sink(check_frames(wait_for_frames())))

    def wait(self) -> None:
        """Wait until all frames have been handed on."""
        if self._job is not None:
            self._job.result()
            self._job = None

    def close(self) -> None:
        """Hand on the frames in progress, if that still works, and free everything."""
        if self._pool is not None:
            self._pool.shutdown()
        self._decoder.close()

    def _decode(self, latents: Tensor) -> Callable[[], Tensor]:
        frames = self._decoder.decode(latents)
        return lambda: frames

    def _begin_on_gpu(self, latents: Tensor) -> Callable[[], Tensor]:
        callers = torch.cuda.current_stream(self._decoder.device)
        stream = self._stream or callers
        stream.wait_stream(callers)  # the caller's stream may not have finished the latents yet
        with torch.cuda.stream(stream):
            frames = self._decoder.decode_on_device(latents)
            arrived = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
            arrived.copy_(frames, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
        if latents.is_cuda:
            latents.record_stream(stream)  # so that their memory is not reused before this stream has read them

        def wait_for_frames() -> Tensor:
            done.synchronize()
            return arrived

        return wait_for_frames
