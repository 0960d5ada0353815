"""Write a video while it is being made, and read one back."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..files import check_writable, hidden_sibling, make_folder, remove_empty
from .encoder import Encoder
from .file_clip import FileClip
from .formats import check_encoder, check_fps, encoder_options, file_format, import_av
from .frames import check_frames, to_bytes

log = logging.getLogger("dummy_forcing")

# Frames converted to bytes at a time: bounds the copies made of a caller's long chunk.
_PIECE = 16


class VideoWriter:
    """Streams frames to an .mp4 (H.264), .webm (VP9) or .gif file; memory does not grow with the length.

    Everything the caller can get wrong is checked when the writer is made, so that a long run does not end
    in an unwritable file. The file appears under its name only when it is complete, replacing an older one;
    until then it is a hidden sibling with the same suffix.

        with VideoWriter("out/clip.mp4", fps=16) as video:
            for chunk in stream:
                video.write(chunk)

    Leaving the block through an exception (KeyboardInterrupt and GeneratorExit included) removes the file,
    or, with `keep_partial`, completes it with the frames written so far. `finish` may be called early.

    Args:
        path: target; missing folders are made with the first frame, and removed again if the file is.
        fps: frames per second, at most 50 for .gif. WebM and GIF round each time stamp to 1/1000 and
            1/100 s; the mean rate is kept.
        crf: constant rate factor, lower is better and larger: 1-51 for .mp4 (default 18), 0-63 for .webm
            (default 24); ignored for .gif, which has 256 colours per frame.
        keep_partial: keep a playable file when an exception ends the block.

    Odd widths and heights grow by one repeated pixel in .mp4 and .webm, whose colour has half resolution.

    Raises:
        DummyForcingError: suffix, frame rate or crf out of range, PyAV or its encoder missing, folder not
            writable. From `write`: wrong shape or dtype, size differs from the first chunk, disk full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | float,
        *,
        crf: int | None = None,
        keep_partial: bool = False,
    ) -> None:
        self.path = Path(path)
        self.keep_partial = keep_partial
        self._format = file_format(self.path)
        self.fps = check_fps(fps, self._format)
        self._options = encoder_options(crf, self._format)
        check_encoder(self._format)
        check_writable(self.path)
        self._partial = hidden_sibling(self.path, self.path.suffix)  # FFmpeg tells the format by the suffix
        self._new_folders: list[Path] = []
        self._encoder: Encoder | None = None
        self._frames_written = 0
        self._closed = False
        self._complete = False

    @property
    def frames_written(self) -> int:
        """Frames handed to the encoder so far."""
        return self._frames_written

    def write(self, frames: Tensor) -> None:
        """Append frames [frames, height, width, 3], RGB, float in [0, 1] or uint8, on any device.

        Floats outside [0, 1] are clamped. Chunks may have any length, even 0; it does not affect the video.
        """
        if self._closed:
            raise DummyForcingError(f"{self.path} is closed; make a new VideoWriter to write more frames")
        check_frames(frames)
        if len(frames) == 0:
            return
        height, width = frames.shape[1:3]
        with self._explained(width, height):
            encoder = self._open(width, height)
            for piece in frames.split(_PIECE):
                for frame in to_bytes(piece):
                    encoder.add(frame)
                    self._frames_written += 1

    def finish(self) -> Path:
        """Complete the file now and return its path; `DummyForcingError` if there is none to keep."""
        self.close(keep=True)
        if not self._frames_written:
            raise DummyForcingError(f"no frames were written to {self.path}; generate at least one chunk")
        if not self._complete:
            raise DummyForcingError(f"{self.path} was closed without keeping it; make a new VideoWriter")
        return self.path

    def close(self, *, keep: bool) -> None:
        """Complete the file if `keep` and it has frames, else leave nothing. Later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        keep = keep and self._frames_written > 0
        try:
            if keep:
                self._publish()
            elif self._encoder is not None:
                # Writing the trailer of a file that is thrown away may well fail, on a full disk for example.
                with contextlib.suppress(OSError, import_av().error.FFmpegError):
                    self._encoder.close(flush=False)
        finally:
            self._encoder = None
            self._partial.unlink(missing_ok=True)
            remove_empty(self._new_folders)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        if kind is None:
            self.finish()
            return
        try:
            self.close(keep=self.keep_partial)
        except DummyForcingError as failure:  # must not hide the exception that ended the block
            log.warning("%s", failure)

    def _open(self, width: int, height: int) -> Encoder:
        if self._encoder is None:
            self._new_folders += make_folder(self.path.parent)
            size = (width, height)
            self._encoder = Encoder(self._partial, self._format, self.fps, size, self._options)
        expected = (self._encoder.width, self._encoder.height)
        if (width, height) != expected:
            raise DummyForcingError(
                f"all frames of a video have one size: {self.path.name} began with "
                f"{expected[0]}x{expected[1]}, got {width}x{height}; resize the frames or start another file"
            )
        return self._encoder

    def _publish(self) -> None:
        encoder = self._encoder
        with self._explained(encoder.width, encoder.height):
            encoder.close(flush=True)
            os.replace(self._partial, self.path)
        self._complete = True

    @contextlib.contextmanager
    def _explained(self, width: int, height: int) -> Iterator[None]:
        try:
            yield
        except (OSError, import_av().error.FFmpegError) as error:
            raise DummyForcingError(
                f"could not write {width}x{height} frames to {self.path}: {error}; "
                "check the free disk space, the folder's permissions and the frame size"
            ) from error


def read_video(path: str | os.PathLike[str]) -> tuple[Tensor, Fraction | None]:
    """Decode a whole file, for comparing and testing.

    Returns:
        frames uint8 [frames, height, width, 3] RGB on the CPU, and the mean frames per second, None for a file that
        says nothing about it. Sizes are those in the file, so they are even numbers for .mp4 and .webm.

    Raises:
        DummyForcingError: no such file, or no video in it.
    """
    clip = FileClip(path)
    return torch.stack(list(clip)), clip.frame_rate
