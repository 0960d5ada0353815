"""The node Stream AR Video: everything between a prompt and a video file."""

from __future__ import annotations

import contextlib
import os
import time

import folder_paths
import torch
from comfy_api.latest import InputImpl, io, ui
from torch import Tensor

from ..core.heads.roles import describe_roles
from ..core.media.video import VideoWriter
from ..core.stream.events import ChunkDone, Event
from ..core.stream.tally import RunReport, describe_run
from . import host
from .inputs import chunk_input, length_input, seed_input, size_inputs
from .live import LiveView
from .model_facts import facts_of
from .plan import plan_video
from .sampling import run_stream
from .vae_decoder import streaming_decoder

FRAME_RATE = 16  # of all Wan 2.1 models


class StreamARVideo(io.ComfyNode):
    """Samples, decodes and writes a video chunk by chunk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingStreamVideo",
            display_name="Stream AR Video",
            category="video/dummy forcing",
            description=(
                "Makes a video of any length with an AR model: each chunk is sampled, decoded and written to the "
                "file before the next begins. Memory stays flat with a Dummy Forcing Patch or AR KV Window on the "
                "model. Stop keeps the chunks that are finished."
            ),
            search_aliases=["streaming", "long video", "self forcing", "causal forcing", "autoregressive video"],
            is_output_node=True,  # it shows the video itself
            inputs=[
                io.Model.Input("model", tooltip="An AR video model, patched or not."),
                io.Conditioning.Input(
                    "positive", tooltip="The prompt, from the model's text encoder (umT5 for Wan) or Toy World."
                ),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE, or that of the Toy World node."),
                *size_inputs(),
                length_input(),
                seed_input(),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=100,
                    optional=True,
                    advanced=True,
                    tooltip="Denoising passes a chunk. 0 for what the family was distilled for.",
                ),
                chunk_input(),
                io.Boolean.Input(
                    "keep_latents",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Collect the latents of the whole video for the latent output: about 0.4 MB of RAM per 4 "
                        "frames at 480p. Off, only those of the last chunk come out."
                    ),
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The finished file, in ComfyUI's temp folder."),
                io.Latent.Output(display_name="latent", tooltip="The video's latents, for nodes that go on."),
                io.String.Output(display_name="report", tooltip="Speed, KV memory and head roles, as text."),
            ],
            hidden=[io.Hidden.unique_id],
        )

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
    ) -> io.NodeOutput:
        facts, channels = facts_of(model), host.causal_backbone(model).in_dim
        opening = host.start_latents(model.model_options.get("transformer_options", {}))
        plan = plan_video(
            facts, width, height, length, steps, chunk_frames, 0 if opening is None else opening.shape[2]
        )
        decoder = streaming_decoder(vae, channels)
        view = LiveView(model, cls.hidden.unique_id, plan.stream_config(channels))
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            "dummy_forcing", folder_paths.get_temp_directory(), plan.width, plan.height
        )
        file = f"{name}_{counter:05}_.mp4"
        started = time.perf_counter()
        with VideoWriter(os.path.join(folder, file), FRAME_RATE) as video, contextlib.closing(decoder):
            recording = _Recording(view, video, decoder, keep_latents)
            run_stream(model, positive, plan, seed, host.model_patch(model), recording, vae=vae)
            path = video.finish()
        report = view.tally.report(time.perf_counter() - started)
        latents = {"samples": model.model.process_latent_out(torch.cat(recording.latents, dim=2))}
        shown = ui.PreviewVideo([ui.SavedResult(file, subfolder, io.FolderType.temp)])
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), latents, _describe(report), ui=shown)


class _Recording:
    """Consumes a stream's events: shows, decodes and writes each chunk."""

    def __init__(self, view: LiveView, video: VideoWriter, decoder, keep_latents: bool):
        self.latents: list[Tensor] = []
        self._view = view
        self._video = video
        self._decoder = decoder
        self._keep_latents = keep_latents

    def __call__(self, event: Event) -> None:
        self._view.add(event)
        if isinstance(event, ChunkDone):
            if not self._keep_latents:
                self.latents.clear()
            self.latents.append(event.latents.float().cpu())
            frames = self._decoder.decode(event.latents)[0]
            self._video.write(frames)
            self._view.show_frames(frames)
            self._view.say_standing()


def _describe(report: RunReport) -> str:
    lines = [describe_run(report)]
    if report.roles is not None:
        lines.append(describe_roles(report.roles))
    return "\n".join(lines)
