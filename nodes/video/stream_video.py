"""The node Stream AR Video: everything between a prompt and a video file."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import folder_paths
import torch
from comfy_api.latest import InputImpl, io, ui
from torch import Tensor

from ...core.broken import keeping_finished
from ...core.decoders.decode_ahead import DecodeAhead
from ...core.decoders.streaming import StreamingDecoder
from ...core.errors import DummyForcingError
from ...core.media.video_file import VideoWriter
from ...core.stream.config import StreamConfig
from ...core.stream.encode import image_anchor
from ...core.stream.events import ChunkDone, Event
from ...core.stream.given_latents import GivenLatents
from ...core.stream.prompt_times import FRAME_RATE, PromptPlan
from ...core.stream.tally import RunReport, Standing, describe_heads, describe_run
from .. import host
from ..live.live_video import open_live_video
from ..live.live_view import LiveView
from ..schema import node_schema
from ..types import RunType, VideoRun
from .decoders import light_decoder, streaming_decoder
from .given_video import GivenVideo, read_given
from .inputs import (
    FINE_STEP,
    chunk_input,
    clean_pass_inputs,
    frames_input,
    length_input,
    rare_number,
    rare_switch,
    seed_input,
    size_inputs,
)
from .model_facts import facts_of
from .prompt_schedule import NO_LATER_PROMPTS, prompts_input
from .run_stream import run_stream
from .stops import STOPS
from .video_plan import VideoPlan, plan_video


class StreamARVideo(io.ComfyNode):
    """Samples, decodes and writes a video chunk by chunk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingStreamVideo",
            display_name="Stream AR Video",
            description=(
                "Makes a video of any length with an AR model: each chunk is sampled, decoded and written to the "
                "file before the next begins. Memory stays flat with a Dummy Forcing Patch or AR KV Window on the "
                "model. Stop keeps the chunks that are finished."
            ),
            search_aliases=["streaming", "long video", "self forcing", "causal forcing", "autoregressive video"],
            is_output_node=True,  # it writes the video itself
            inputs=[
                io.Model.Input("model", tooltip="An AR video model, patched or not."),
                io.Conditioning.Input(
                    "positive", tooltip="The prompt, from the model's text encoder (umT5 for Wan) or Toy World."
                ),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE, or that of the Toy World node."),
                *size_inputs(),
                length_input(),
                seed_input(),
                rare_number(
                    "steps", 0, 0, 100, "Denoising passes a chunk. 0 for what the family was distilled for."
                ),
                chunk_input(),
                rare_switch(
                    "keep_latents",
                    True,
                    (
                        "Collect the latents of the whole video for the latent output: about 0.4 MB of RAM per 4 "
                        "frames at 480p. Off, only those of the last chunk come out."
                    ),
                ),
                frames_input(
                    "start",
                    (
                        "What the video begins with: a start image, or a video or latent that goes on. It counts "
                        "in the length."
                    ),
                ),
                frames_input(
                    "source", "A video to change; strength says how much. At least as long as the video to be made."
                ),
                io.Float.Input(
                    "strength",
                    default=0.8,
                    min=0.01,
                    max=1.0,
                    step=FINE_STEP,
                    optional=True,
                    tooltip="With a source: how much of it is replaced. 1 leaves nothing of it.",
                ),
                prompts_input(),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="Encodes what you type below the video while it is made. Leave it out to do without.",
                ),
                *clean_pass_inputs(),
                io.Vae.Input(
                    "decoder",
                    optional=True,
                    tooltip=(
                        "A light decoder in place of the VAE's own, many times faster at a little quality: "
                        "lightvaew2_1, lighttaew2_1 or taew2_1, from Load VAE. The VAE still encodes."
                    ),
                ),
                rare_switch(
                    "keep_frames",
                    False,
                    (
                        "Take every frame of a video in start or source as it is. Off, a video of another frame "
                        "rate is read at the model's 16 frames a second and keeps its speed."
                    ),
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The finished file, in ComfyUI's temp folder."),
                io.Latent.Output(display_name="latent", tooltip="The video's latents, for nodes that go on."),
                io.String.Output(display_name="report", tooltip="Speed, KV memory and head roles, as text."),
                RunType.Output(display_name="run", tooltip="The video and what it cost, for Compare Videos."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> int:
        return STOPS.count(inputs)

    @classmethod
    def execute(
        cls,
        model,
        positive,
        vae,
        width: int,
        height: int,
        length: int,
        seed: int,
        steps: int = 0,
        chunk_frames: int = 0,
        keep_latents: bool = True,
        start=None,
        source=None,
        strength: float = 0.8,
        prompts: PromptPlan = NO_LATER_PROMPTS,
        clip=None,
        context_noise: float = 0.0,
        refine: bool = False,
        decoder=None,
        keep_frames: bool = False,
    ) -> io.NodeOutput:
        start = read_given(start, "the start", keep_frames)
        source = read_given(source, "the source", keep_frames, length or None)
        facts, channels, patch = facts_of(model), host.causal_backbone(model).in_dim, host.model_patch(model)
        plan = plan_video(
            facts,
            width,
            height,
            length,
            steps,
            chunk_frames,
            _opening_frames(model, start),
            strength if source is not None else 1.0,
            None if source is None else source.latent_frames,
            None if source is None else source.counted,
        )
        plan = replace(plan, context_noise=context_noise, refine=refine)
        config = plan.stream_config(channels, patch.loop)
        prompts.check(config, facts.shape.text_dim)
        light = None if decoder is None else light_decoder(decoder, vae, model, channels)
        own = streaming_decoder(vae, channels)
        host.check_room(model, patch, host.streamed_video(model, config), light or own)
        given, lost = _given(start, source, vae, plan, channels)

        def encode(frame: Tensor) -> Tensor:
            return model.model.process_latent_in(vae.encode(frame[0]))

        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            "dummy_forcing", folder_paths.get_temp_directory(), plan.width, plan.height
        )
        file = f"{name}_{counter:05}_.mp4"
        started = time.perf_counter()
        with (
            VideoWriter(os.path.join(folder, file), FRAME_RATE) as video,
            keeping_finished(video),
            open_live_video(cls.hidden, plan, config, prompts, clip) as live,
        ):
            view = LiveView(model, cls.hidden.unique_id, config, live=live, light=light)
            output = _Recording(view, video, light or own, keep_latents, config, encode)
            with contextlib.closing(output) as recording:
                warnings = run_stream(
                    model,
                    positive,
                    plan,
                    seed,
                    patch,
                    recording,
                    vaes=[vae] if light is None else [decoder, *([vae] if recording.anchor else [])],
                    stopped=STOPS.counter(),
                    given=given,
                    prompts=live.prompts,
                    anchor=recording.anchor,
                )
                recording.wait()
            path = video.finish()
        report = view.tally.report(time.perf_counter() - started)
        latents = {"samples": model.model.process_latent_out(torch.cat(recording.latents, dim=2))}
        # Not as "images": the frontend would take the last preview, which stays on the node, for this video.
        made = {"video": [ui.SavedResult(file, subfolder, io.FolderType.temp)], **live.output}
        clip, run = InputImpl.VideoFromFile(str(path)), VideoRun(str(path), report)
        return io.NodeOutput(clip, latents, _describe(report, [*lost, *warnings]), run, ui=made)


class _Recording:
    """Consumes a stream's events: shows, decodes and writes each chunk.

    Decoding and writing may go on beside the sampling of the next chunk. ComfyUI moves weights about on the CUDA
    stream that it samples on, so the decoder's work stays on that stream.
    """

    def __init__(
        self,
        view: LiveView,
        video: VideoWriter,
        decoder: StreamingDecoder,
        keep_latents: bool,
        config: StreamConfig,
        encode: Callable[[Tensor], Tensor],
    ):
        """config, encode: as for `image_anchor`."""
        self.latents: list[Tensor] = []
        self._view = view
        self._video = video
        self._keep_latents = keep_latents
        self._ahead = DecodeAhead(decoder, own_stream=False)
        self.anchor = image_anchor(encode, config, self._ahead.wait)

    def __call__(self, event: Event) -> None:
        self._view.add(event)
        if isinstance(event, ChunkDone):
            self._ahead.add(event.latents, partial(self._take, self._view.tally.standing))
            if not self._keep_latents:
                self.latents.clear()
            self.latents.append(event.latents.float().cpu())  # after the decoder, which Stop may interrupt
            self._view.begin_next()

    def wait(self) -> None:
        """Wait until every chunk has been written."""
        self._ahead.wait()

    def close(self) -> None:
        self._ahead.close()

    def _take(self, standing: Standing, frames: Tensor) -> None:
        if self.anchor is not None:
            self.anchor.add(frames)
        self._view.show_frames(frames[0], standing)  # first: people are waiting for them, the file can wait
        self._video.write(frames[0])


def _opening_frames(model, start) -> int:
    """Latent frames to begin with; ARVideoI2V may have put some on the model."""
    on_model = host.start_latents(model.model_options.get("transformer_options", {}))
    if start is not None and on_model is not None:
        raise DummyForcingError(
            "the model has a start image from ARVideoI2V and this node another start; remove one of the two starts"
        )
    if start is not None:
        return start.latent_frames
    return 0 if on_model is None else on_model.shape[2]


def _given(
    start: GivenVideo | None, source: GivenVideo | None, vae, plan: VideoPlan, channels: int
) -> tuple[GivenLatents, list[str]]:
    """What was given, as latents, and sentences about what of it is not in the video."""
    parts = [(start, plan.opening_frames), (source, plan.latent_frames)]
    lost = [line for part, used in parts if part is not None for line in part.lost(used)]
    latents = [None if part is None else part.to_latents(vae, plan, channels, used) for part, used in parts]
    return GivenLatents(*latents), lost


def _describe(report: RunReport, notes: list[str]) -> str:
    """notes: what was given but is not in the video, and settings of other nodes that have no effect."""
    heads = describe_heads(report)
    return "\n".join([describe_run(report), *notes, *([heads] if heads else [])])
