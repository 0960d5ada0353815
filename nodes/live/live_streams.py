"""The videos that browsers may look at: those under way and the newest of those that are over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...core.media.frame_pack import QUALITY
from ..host.frontend import shown_in, tell_browsers
from .live_stream import LiveStream, PromptMark, StreamPlace, StreamSize

EVENT = "dummy_forcing.stream"
OUTPUT = "dummy_forcing_stream"
"""The key in a node's `ui` that holds the id of its stream."""
FOLDER = "dummy_forcing_live"
MOST_STREAMS = 64
MOST_BYTES = 2 * 2**30


class LiveStreams:
    """Streams by id, oldest first. Bounded in number and in bytes on disk: the oldest chunks go first."""

    def __init__(
        self,
        folder: Callable[[], Path],
        send: Callable[[dict[str, Any]], None],
        most_bytes: int = MOST_BYTES,
        most_streams: int = MOST_STREAMS,
    ):
        """folder: where chunks lie; send: brings a stream's state to every browser."""
        self._folder = folder
        self._send = send
        self._most_bytes, self._most_streams = most_bytes, most_streams
        self._streams: dict[str, LiveStream] = {}
        self._lock = threading.Lock()

    def open(
        self,
        place: StreamPlace,
        size: StreamSize,
        prompts: Sequence[PromptMark] = (),
        no_prompt_box: str | None = None,
        quality: int = QUALITY,
    ) -> LiveStream:
        """A new stream; arguments as in `LiveStream`."""
        stream = LiveStream(place, size, self._folder(), self._changed, prompts, no_prompt_box, quality)
        with self._lock:
            self._streams[stream.id] = stream
        self._changed(stream)
        return stream

    def find(self, prompt_id: str, stream_id: str) -> LiveStream | None:
        """A stream, if it is one of this prompt."""
        stream = self._streams.get(stream_id)
        return stream if stream is not None and stream.place.prompt_id == prompt_id else None

    def states_of(self, workflow_id: str) -> list[dict[str, Any]]:
        """States of what a workflow's nodes have made or received from ComfyUI's cache, in the order of receipt."""
        with self._lock:
            streams = list(self._streams.values())
        return shown_in(workflow_id, OUTPUT, [stream.state() for stream in streams], "id")

    def _changed(self, stream: LiveStream) -> None:
        self._make_room()
        self._send(stream.state())

    def _make_room(self) -> None:
        """Forget the oldest streams that are over and, if that is not enough, the oldest chunks of any."""
        with self._lock:
            over = [stream for stream in self._streams.values() if not stream.running]
            size = sum(stream.bytes for stream in self._streams.values())
            while over and (len(self._streams) > self._most_streams or size > self._most_bytes):
                oldest = over.pop(0)
                size -= oldest.bytes
                del self._streams[oldest.id]
                oldest.forget()
            for stream in self._streams.values():
                while sum(each.bytes for each in self._streams.values()) > self._most_bytes:
                    if not stream.forget_chunk():
                        break


def _temp_folder() -> Path:
    import folder_paths

    return Path(folder_paths.get_temp_directory()) / FOLDER


STREAMS = LiveStreams(_temp_folder, partial(tell_browsers, EVENT))
"""The streams of this ComfyUI."""
