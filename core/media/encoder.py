"""Frames in, file out: the PyAV side of the video writer.

Nothing here keeps frames; FFmpeg's encoders hold a few dozen to look ahead, however long the video is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from .formats import FileFormat, import_av
from .frames import pad_to

if TYPE_CHECKING:
    import av

    # Maps a frame to the frames that are ready for the encoder; None says that no more will come.
    Convert = Callable[["av.VideoFrame | None"], Iterator["av.VideoFrame"]]

# ISO/IEC 23091-2 codes, as FFmpeg uses them.
_BT709 = 1
_LIMITED_RANGE = 1


class Encoder:
    """One open file. `add` frames, then `close`; `width` and `height` are the size of these frames."""

    def __init__(
        self, path: Path, target: FileFormat, fps: Fraction, size: tuple[int, int], options: dict[str, str]
    ) -> None:
        self.width, self.height = size
        self._tick = 1 / fps
        self._count = 0
        # bitexact leaves out random ids and version strings. Files still need not be equal byte for byte:
        # libx264 makes slightly different, equally good streams from identical frames, even on one thread.
        self._container = import_av().open(str(path), "w", container_options={"fflags": "+bitexact"})
        try:
            self._stream = self._add_stream(target, fps, options)
            self._convert = self._palettes() if target.pixels == "pal8" else self._colours(target.pixels)
        except BaseException:
            self._container.close()
            raise

    def add(self, pixels: Tensor) -> None:
        """Encode one frame, uint8 [height, width, 3] on the CPU."""
        array = pad_to(pixels, self._stream.height, self._stream.width).numpy()
        frame = import_av().VideoFrame.from_ndarray(array, format="rgb24")
        frame.pts, frame.duration, frame.time_base = self._count, 1, self._tick
        self._count += 1
        self._encode(frame)

    def close(self, *, flush: bool) -> None:
        """Write what the encoder still holds if `flush`, and close the file in any case."""
        try:
            if flush:
                self._encode(None)
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for ready in self._convert(frame):
            self._container.mux(self._stream.encode(ready))

    def _add_stream(self, target: FileFormat, fps: Fraction, options: dict[str, str]) -> av.VideoStream:
        stream = self._container.add_stream(target.codec, rate=fps, options=options)
        spare = 1 if target.subsampled else 0
        stream.width = self.width + self.width % 2 * spare
        stream.height = self.height + self.height % 2 * spare
        stream.pix_fmt = target.pixels
        context = stream.codec_context
        context.time_base = self._tick
        context.thread_count = 0  # as many as there are cores
        if target.subsampled:
            # Untagged files are decoded as BT.601 or BT.709 depending on the player and the height.
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
        return stream

    def _colours(self, pixels: str) -> Convert:
        """RGB to limited-range BT.709."""
        # AREA averages the colour of 2x2 pixels; FFmpeg's default takes one of them, which frays edges.
        target = {"format": pixels, "dst_colorspace": _BT709, "dst_color_range": _LIMITED_RANGE}
        area = import_av().video.reformatter.Interpolation.AREA

        def convert(frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
            if frame is not None:
                yield frame.reformat(**target, interpolation=area)

        return convert

    def _palettes(self) -> Convert:
        """RGB to 256 colours chosen anew for every frame; a frame of no more colours is exact to one level."""
        av = import_av()
        graph = av.filter.Graph()
        size = {"width": self.width, "height": self.height}
        source = graph.add_buffer(format=av.VideoFormat("rgb24"), time_base=self._tick, **size)
        fork = graph.add("split")
        generate = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        apply = graph.add("paletteuse", "new=1:dither=sierra2_4a")
        source.link_to(fork)
        fork.link_to(generate, 0, 0)
        fork.link_to(apply, 1, 0)
        generate.link_to(apply, 0, 1)
        apply.link_to(graph.add("buffersink"))
        graph.configure()

        def convert(frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
            graph.vpush(frame)
            while True:
                try:
                    yield graph.vpull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    return

        return convert
