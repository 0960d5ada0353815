"""What a person sees while a stream runs: progress, a moving preview and a status line on the node."""

from __future__ import annotations

import comfy.utils
import latent_preview
from PIL import Image
from torch import Tensor

from ..core.media.frames import to_bytes
from ..core.stream.config import StreamConfig
from ..core.stream.events import Event, PassDone
from ..core.stream.tally import Tally
from .ar_sampler import preview_frame
from .live_video import LiveVideo


def show_text(text: str, node_id: str | None) -> None:
    """Put text on a node."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)  # there is none in tests without a server
    if server is not None and node_id is not None:
        server.send_progress_text(text, node_id)


class LiveView:
    """Shows a stream on one node.

    Until a chunk has been decoded, previews are the host's rough ones of the latents, if its settings ask for any:
    by default they do not. From then on the chunk decoded last plays while the next one is sampled; it is the
    output itself, at hand without further work. Where the node has a player, it shows all this and more.
    """

    def __init__(
        self,
        model,
        node_id: str | None,
        config: StreamConfig,
        passes_before: int = 0,
        total: int = 0,
        live: LiveVideo | None = None,
    ):
        """
        Args:
            passes_before, total: where this stream stands among several that share a progress bar.
            live: the video for players in browsers; None if there is nothing to play.
        """
        self.tally = Tally(config)
        self._node_id = node_id
        self._before = passes_before
        self._total = total or config.total_passes
        self._bar = comfy.utils.ProgressBar(self._total, node_id=node_id)
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._decoded: Tensor | None = None
        self._live = live
        self._player = live is not None and live.has_player

    def add(self, event: Event) -> None:
        """Take the next event; call it before `show_frames` of the same chunk."""
        self.tally.add(event)
        if self._live is not None:
            self._live.check_stop()
        if isinstance(event, PassDone):
            self._bar.update_absolute(self._before + self.tally.passes, self._total, self._preview(event))

    def show_frames(self, frames: Tensor) -> None:
        """The frames [T, H, W, 3] of the chunk just finished."""
        self._decoded = frames
        if self._live is not None:
            self._live.add_chunk(frames, self.tally.standing)

    def say_standing(self) -> None:
        """Put chunk, speed and KV memory on the node."""
        if self._player:
            return
        now = self.tally.standing
        show_text(f"chunk {now.chunks_done}/{now.chunks} · {now.speed} · {now.kv}", self._node_id)

    def _preview(self, event: PassDone):
        if self._player:
            return None
        if self._decoded is None:
            if self._previewer is None:
                return None
            latents = event.estimate[:, :, preview_frame(event) :]  # the previewer takes the first frame
            return self._previewer.decode_latent_to_preview_image("JPEG", latents)
        index = len(self._decoded) * event.clock.pass_index // event.passes
        pixels = to_bytes(self._decoded[index : index + 1])[0].numpy()
        return "JPEG", Image.fromarray(pixels), latent_preview.MAX_PREVIEW_RESOLUTION
