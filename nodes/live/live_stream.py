"""A video while it is made, as browsers see it: chunks on disk, how far it is, what people ask of it."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ...core.media.frame_pack import QUALITY, encode_jpegs, pack
from ...core.stream.tally import Standing

logger = logging.getLogger("dummy_forcing")

Status = Literal["running", "finished", "stopped", "failed"]

MOST_PROMPTS = 100
MOST_SHOWN = 300  # characters of a text in the state
_WAITING_CHUNKS = 2  # decoded ones that may wait to be encoded: bounds the frames held in memory
_RECENT = 8  # newest chunks, from which speed and time left are computed


@dataclass(frozen=True)
class StreamPlace:
    """Which node of which run makes the video; workflow_id is the frontend's, None for API prompts without one."""

    prompt_id: str
    node_id: str
    workflow_id: str | None = None


@dataclass(frozen=True)
class StreamSize:
    """What is known before the first chunk; chunks and frames are None for a video without end."""

    width: int
    height: int
    frame_rate: float
    chunks: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class PromptMark:
    """The text from this chunk on; None where it is not known, as for a prompt that came as a tensor."""

    chunk: int
    text: str | None


class LiveStream:
    """One video under way, or what is left of it.

    The sampling thread adds chunks and looks up what people ask for; the server's thread reads the state and takes
    requests; the stream's own thread encodes, so that neither of them waits. The id of a stream is random: it names
    the stream in routes and its folder on disk.
    """

    def __init__(
        self,
        place: StreamPlace,
        size: StreamSize,
        parent: Path,
        changed: Callable[[LiveStream], None],
        prompts: Sequence[PromptMark] = (),
        no_prompt_box: str | None = None,
        quality: int = QUALITY,
    ):
        """
        Args:
            parent: folder in which the stream makes its own.
            changed: called from any thread when there is something new in `state`.
            prompts: what is known of the prompts' texts.
            no_prompt_box: why the prompt cannot be changed, a code of `REFUSALS`; None if it can.
        """
        self.id = secrets.token_urlsafe(16)
        self.place, self.size = place, size
        self._folder = parent / self.id
        self._changed = changed
        self._no_prompt_box = no_prompt_box
        self._quality = quality
        self._comparison: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="live stream")
        self._room = threading.Semaphore(_WAITING_CHUNKS)
        self._started = time.time()
        self._status: Status = "running"
        self._revision = 0
        self._chunks: list[tuple[int, int]] = []  # frames and bytes of each
        self._bytes = 0  # of those that are still there
        self._first = 0
        self._decoded_at: float | None = None
        self._standing: Standing | None = None
        self._ends: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], _RECENT + 1)
        self._prompts = list(prompts)[:MOST_PROMPTS]
        self._asked: str | None = None
        self._refused: str | None = None
        self._stop = False
        self._broken: str | None = None

    # What the sampling thread does.

    def add_chunk(self, frames: Tensor, standing: Standing) -> None:
        """Take the frames [T, H, W, 3] of the next chunk; waits only where encoding is two chunks behind."""
        self._room.acquire()
        self._encoder.submit(self._keep, frames, standing, time.time())

    def compare(self, comparison: dict[str, Any]) -> None:
        """Take what is known of two clips side by side; browsers get it with the next chunk."""
        self._comparison = comparison

    def take_prompt(self) -> str | None:
        """The text asked for since the last call."""
        with self._lock:
            asked, self._asked = self._asked, None
        return asked

    def prompt_changed(self, text: str, chunk: int) -> None:
        """The text applies from this chunk on."""
        with self._lock:
            self._prompts = [mark for mark in self._prompts if mark.chunk != chunk] + [PromptMark(chunk, text)]
            self._prompts = sorted(self._prompts, key=lambda mark: mark.chunk)[-MOST_PROMPTS:]
            self._refused = None
        self._tell()

    def prompt_refused(self, reason: str) -> None:
        """The text asked for cannot be encoded; the video goes on as it was."""
        with self._lock:
            self._refused = reason
        self._tell()

    @property
    def stop_asked(self) -> bool:
        """Whether somebody wants this video to end with the chunks that it has."""
        return self._stop

    def close(self, status: Status) -> None:
        """The video is over; returns when every chunk is on disk."""
        self._encoder.shutdown(wait=True)
        with self._lock:
            self._status, self._asked = status, None
        self._tell()

    # What the server's thread does.

    def change_prompt(self, text: str) -> str | None:
        """Ask for another prompt from the next chunk on; if that is refused, returns why, a code of `REFUSALS`."""
        with self._lock:
            refused = self._no_prompt_box if self._status == "running" else "over"
            if refused is None:
                self._asked, self._refused = text, None
        self._tell()
        return refused

    def ask_stop(self) -> None:
        """Let the video end with the chunks that it has."""
        self._stop = True
        self._tell()

    def chunk_file(self, index: int) -> Path | None:
        """The file of a chunk, as `core.media.frame_pack` writes it; None if it is not there (any more)."""
        with self._lock:
            kept = self._first <= index < len(self._chunks)
        return self._file(index) if kept else None

    def state(self) -> dict[str, Any]:
        """All that a browser is told, JSON-serialisable; bounded, however long the video."""
        with self._lock:
            standing = self._standing
            return {
                "id": self.id,
                **asdict(self.place),
                **asdict(self.size),
                "started": self._started,
                "served": self._started,
                "revision": self._revision,
                "status": self._status,
                "stopping": self._stop and self._status == "running",
                "first_chunk": self._first,
                "decoded_at": self._decoded_at,
                "runs": [[len(list(same)), frames] for frames, same in groupby(n for n, _ in self._chunks)],
                "fps": self._speed(),
                "dit_fps": standing and standing.dit_fps,
                "kv_bytes": standing and standing.kv_bytes,
                "seconds_left": self._seconds_left(),
                "prompts": [{"chunk": mark.chunk, "text": _short(mark.text)} for mark in self._prompts],
                "prompt_asked": _short(self._asked),
                "prompt_refused": _short(self._refused),
                "no_prompt_box": self._no_prompt_box,
                "broken": self._broken,
                "comparison": self._comparison,
            }

    # What the registry does.

    @property
    def running(self) -> bool:
        return self._status == "running"

    @property
    def bytes(self) -> int:
        """Bytes of the chunks on disk."""
        return self._bytes

    def forget_chunk(self) -> bool:
        """Remove the oldest chunk, but never the newest; returns whether one was removed."""
        with self._lock:
            if self._first >= len(self._chunks) - 1:
                return False
            index, self._first = self._first, self._first + 1
            self._bytes -= self._chunks[index][1]
        self._file(index).unlink(missing_ok=True)
        return True

    def forget(self) -> None:
        """Remove every chunk."""
        with self._lock:
            self._first, self._bytes = len(self._chunks), 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, index: int) -> Path:
        return self._folder / f"{index:06}.pack"

    def _keep(self, frames: Tensor, standing: Standing, decoded_at: float) -> None:
        """Encode and write a chunk. A full disk ends the live view of the video, not the video."""
        try:
            if self._broken is None:
                data = pack(encode_jpegs(frames, self._quality))
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file(len(self._chunks)).write_bytes(data)
                with self._lock:
                    self._decoded_at = decoded_at
                    self._chunks.append((len(frames), len(data)))
                    self._bytes += len(data)
        except Exception as error:
            logger.warning("the live view of this video ends here: %s", error)
            self._broken = getattr(error, "strerror", None) or type(error).__name__  # the message may name a path
        finally:
            with self._lock:
                self._standing = standing
                self._ends.append((time.monotonic(), self._ends[-1][1] + len(frames)))
                if len(self._ends) > 2 and not self._ends[0][1]:
                    self._ends.popleft()  # the first chunk had to wait for the model to be loaded
            self._room.release()
            self._tell()

    def _speed(self) -> float | None:
        """Frames a second of the newest chunks, by the wall clock."""
        (began, before), (ended, after) = self._ends[0], self._ends[-1]
        return None if after == before else (after - before) / max(ended - began, 1e-6)

    def _seconds_left(self) -> float | None:
        made, speed = self._ends[-1][1], self._speed()
        if self._status != "running" or self.size.frames is None or speed is None:
            return None
        return max(0, self.size.frames - made) / speed

    def _tell(self) -> None:
        with self._lock:
            self._revision += 1
        self._changed(self)


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"
