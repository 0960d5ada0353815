"""The node Compare Videos: two videos or runs side by side, with PSNR, SSIM, speed and memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...core.media.clip_quality import QualityMeter
from ...core.media.clips import Clip, Pairs
from ...core.media.comparison_plot import draw_comparison
from ...core.media.drawing import pixels_of
from ...core.media.frames import pad_to
from ...core.media.quality import WINDOW
from ...core.stream.tally import Standing
from ..live.live_stream import LiveStream, StreamSize
from ..live.live_streams import OUTPUT, STREAMS
from ..live.live_video import place_of
from ..schema import node_schema
from ..types import RunType
from ..video.stops import STOPS
from .compared_clips import check_sizes, differences, frame_rate_of, open_clip, report_of
from .comparison import Comparison, label

_BLOCK = 8  # pixels of a JPEG block
_JPEG_QUALITY = 92  # with colour in full resolution: people look for small differences


class CompareVideos(io.ComfyNode):
    """Reads two clips frame by frame, measures how far they are apart and lets browsers wipe between them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        kinds = [RunType, io.Video, io.Image]
        return node_schema(
            node_id="DummyForcingCompare",
            display_name="Compare Videos",
            description=(
                "Plays two videos in one picture with a wipe between them, and measures how far they are apart: "
                "PSNR and SSIM over time. Of runs it shows speed and KV memory side by side."
            ),
            search_aliases=["wipe", "side by side", "difference", "PSNR", "SSIM", "quality", "A/B", "benchmark"],
            is_output_node=True,  # it plays them itself
            inputs=[
                io.MultiType.Input(
                    "a",
                    types=kinds,
                    tooltip="A run of Stream AR Video, a video or images: what the other is measured against.",
                ),
                io.MultiType.Input("b", types=kinds, tooltip="The other one; scaled to the size of a if need be."),
                io.String.Input("label_a", default="A", tooltip="What a is called in the player and the report."),
                io.String.Input("label_b", default="B", tooltip="What b is called in the player and the report."),
            ],
            outputs=[
                io.String.Output(
                    display_name="report",
                    tooltip="PSNR, SSIM, speed and memory of both with their ratios, as text.",
                ),
                io.Image.Output(
                    display_name="plot", tooltip="PSNR and SSIM over time; of runs speed and memory as bars."
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> int:
        return STOPS.count(inputs)

    @classmethod
    def execute(cls, a, b, label_a: str = "A", label_b: str = "B") -> io.NodeOutput:
        clips = open_clip(a), open_clip(b)
        check_sizes(clips[0], WINDOW)
        labels = label(label_a, "A"), label(label_b, "B")
        found, stream_id = _compare(cls.hidden, clips, labels, (report_of(a), report_of(b)))
        report = found.describe()
        picture = draw_comparison(found.quality, labels, found.frame_rate, found.bars())
        plot = pixels_of(picture)[None].float() / 255
        return io.NodeOutput(report, plot, ui={**ui.PreviewText(report).as_dict(), OUTPUT: [stream_id]})


def _compare(hidden, clips: tuple[Clip, Clip], labels: tuple[str, str], reports: tuple) -> tuple[Comparison, str]:
    """Compare both up to the end of the shorter one, or until somebody says stop; also returns the stream's id."""
    a, b = clips
    pairs, meter, rate, stopped = Pairs(a, b), QualityMeter(), frame_rate_of(a, b), STOPS.counter()
    total = min(a.frames, b.frames) if a.frames and b.frames else None
    chunks = None if total is None else -(-total // pairs.piece_frames)
    bar = comfy.utils.ProgressBar(total or 1, node_id=hidden.unique_id)

    def found() -> Comparison:
        notes = differences(a, b, pairs.goes_on, labels)
        return Comparison(labels, reports, (a.width, a.height), rate, meter.quality, notes)

    with _shown(hidden, StreamSize(a.width, a.height, rate, chunks, total)) as stream:
        for piece, (one, other) in enumerate(pairs, 1):
            comfy.model_management.throw_exception_if_processing_interrupted()
            meter.add(one, other)
            stream.compare(found().state())
            stream.add_chunk(_side_by_side(one, other), Standing(chunks, piece, 0, None, None))
            if total is not None:
                bar.update_absolute(meter.quality.frames, total)
            if stream.stop_asked:
                stopped()
                break
        stream.compare(found().state())
    return found(), stream.id


@contextlib.contextmanager
def _shown(hidden, size: StreamSize) -> Iterator[LiveStream]:
    """A stream of both for players in browsers, closed at the end of the block."""
    stream = STREAMS.open(place_of(hidden), size, no_prompt_box="no_prompt", quality=_JPEG_QUALITY)
    try:
        yield stream
    except comfy.model_management.InterruptProcessingException:
        stream.close("stopped")
        raise
    except BaseException:
        stream.close("failed")
        raise
    stream.close("stopped" if stream.stop_asked else "finished")


def _side_by_side(a: Tensor, b: Tensor) -> Tensor:
    """Both in one frame, each widened to whole JPEG blocks: neither bleeds into the other, equals stay equal."""
    width = -(-a.shape[2] // _BLOCK) * _BLOCK
    halves = [torch.stack([pad_to(frame, frame.shape[0], width) for frame in clip]) for clip in (a, b)]
    return torch.cat(halves, dim=2)
