"""What a person sees while a stream runs: progress, a moving preview and a status line on the node."""

from __future__ import annotations

import comfy.utils
import latent_preview
from PIL import Image
from torch import Tensor

from ...core.decoders.streaming import StreamingDecoder
from ...core.media.frames import to_bytes
from ...core.stream.config import StreamConfig
from ...core.stream.events import Event, PassDone
from ...core.stream.tally import Standing, Tally
from ..host.frontend import prompt_server
from ..video.ar_sampler import preview_frame
from .live_video import LiveVideo
from .texts import OUTPUT


def show_text(text: str, node_id: str | None) -> None:
    """Put text on a node."""
    server = prompt_server()
    if server is not None and node_id is not None:
        server.send_progress_text(text, node_id)


def show_result(text: str, node_id: str | None) -> dict[str, list[str]]:
    """Put text about a node's result on the node; returns what goes into its `ui`, see `texts`."""
    show_text(text, node_id)
    return {OUTPUT: [text]}


class LiveView:
    """Shows a stream on one node.

    Until a chunk has been decoded, previews show what a pass predicts: a frame from the light decoder if there is
    one, else the host's rough preview if its settings ask for one, which by default they do not. From then on the
    chunk decoded last plays while the next one is sampled; it is the output itself and takes no further work.
    Where the node has a player, the player shows all this and more.
    """

    def __init__(
        self,
        model,
        node_id: str | None,
        config: StreamConfig,
        passes_before: int = 0,
        total: int = 0,
        live: LiveVideo | None = None,
        light: StreamingDecoder | None = None,
    ):
        """
        Args:
            passes_before, total: where this stream stands among several that share a progress bar.
            live: the video for players in browsers; None if there is nothing to play.
            light: a decoder fast enough for one frame per pass; None if there is none.
        """
        self.tally = Tally(config)
        self._node_id = node_id
        self._before = passes_before
        self._total = total or config.total_passes
        self._bar = comfy.utils.ProgressBar(self._total, node_id=node_id)
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._decoded: Tensor | None = None
        self._light = light
        self._live = live
        self._player = live is not None and live.has_player

    def add(self, event: Event) -> None:
        """Take the next event; call it before `show_frames` of the same chunk."""
        self.tally.add(event)
        if self._live is not None:
            self._live.check_stop()
        if isinstance(event, PassDone):
            self._bar.update_absolute(self._before + self.tally.passes, self._total, self._preview(event))

    def show_frames(self, frames: Tensor, standing: Standing) -> None:
        """The frames [T, H, W, 3] of a finished chunk and how far the video was then; callable from any thread."""
        self._decoded = frames
        if self._live is not None:
            self._live.add_chunk(frames, standing)

    def begin_next(self) -> None:
        """Between two chunks: take the prompt asked for, say how far the video is."""
        if self._live is not None:
            self._live.take_prompt(self.tally.standing)
        self.say_standing()

    def say_standing(self) -> None:
        """Put chunk, speed and KV memory on the node."""
        if self._player:
            return
        now = self.tally.standing
        show_text(f"chunk {now.chunks_done}/{now.chunks} · {now.speed} · {now.kv}", self._node_id)

    def _preview(self, event: PassDone):
        if self._player:
            return None
        decoded = self._decoded
        if decoded is not None:
            index = len(decoded) * event.clock.pass_index // event.passes
            return _as_preview(decoded[index])
        latents = event.estimate[:, :, preview_frame(event) :]
        if self._light is not None:
            return _as_preview(self._light.decode_apart(latents[:, :, :1])[0, 0])
        if self._previewer is None:
            return None
        return self._previewer.decode_latent_to_preview_image("JPEG", latents)  # it shows their first frame


def _as_preview(frame: Tensor):
    pixels = to_bytes(frame[None])[0].numpy()
    return "JPEG", Image.fromarray(pixels), latent_preview.MAX_PREVIEW_RESOLUTION
