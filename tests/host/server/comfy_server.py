"""A ComfyUI server with this pack in it, in a process and a folder of its own, and the client to drive it.

As a script it serves while a command runs, with `{url}` in the command replaced by the server's address:

    python tests/host/server/comfy_server.py node tools/canvas/canvas_screenshots.mjs {url} out.png in.json

Before the command, `--pack=FOLDER` adds another node pack and `--comfyui=ARGUMENT` hands an argument on to ComfyUI.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACK_FOLDER = "dummy-forcing"
CLIENT = "dummy-forcing-tests"
ENDS = ("execution_success", "execution_error", "execution_interrupted")
PREVIEW, TEXT, PREVIEW_WITH_METADATA = 1, 3, 4  # binary messages, as in ComfyUI's protocol.py
START_SECONDS = 180
_PACK, _ARGUMENT = "--pack=", "--comfyui="


@dataclass(frozen=True)
class Event:
    """A websocket message. `data` is its JSON or, of a binary one, `text` or `image` bytes and their node."""

    type: str
    data: dict[str, Any]
    seconds: float  # on the monotonic clock, when it arrived


@dataclass
class Run:
    """What a prompt sent until its end."""

    prompt_id: str
    events: list[Event] = field(default_factory=list)

    @property
    def status(self) -> str | None:
        """One of `ENDS`; None while it runs."""
        return next((event.type for event in reversed(self.events) if event.type in ENDS), None)

    @property
    def error(self) -> str:
        """Message and traceback of the node that failed."""
        failed = [event.data for event in self.events if event.type == "execution_error"]
        return "\n".join(data["exception_message"] + "".join(data["traceback"]) for data in failed)

    @property
    def executed(self) -> dict[str, dict[str, Any]]:
        """UI output by node."""
        return {data["node"]: data["output"] or {} for data in self.of("executed")}

    @property
    def progress(self) -> list[tuple[str, float, float]]:
        """Node, value and maximum of each step of a progress bar."""
        return [(data["node"], data["value"], data["max"]) for data in self.of("progress")]

    @property
    def previews(self) -> list[dict[str, Any]]:
        """Preview images: `image` has the file's bytes; `node_id` and `image_type` come with them."""
        return self.of("preview")

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Node and status line of each progress text."""
        return [(data["node_id"], data["text"]) for data in self.of("progress_text")]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == kind]


class Refused(Exception):
    """The server answered a request with an error."""


class ComfyServer:
    """Starts the server and waits until it answers; `close`, or leaving `with`, ends its process group."""

    def __init__(
        self,
        comfyui: Path,
        pack: Path,
        folder: Path,
        arguments: tuple[str, ...] = (),
        more_packs: tuple[Path, ...] = (),
    ):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_file = folder / "server.log"
        custom_nodes = folder / "custom_nodes"
        custom_nodes.mkdir(parents=True)
        (custom_nodes / PACK_FOLDER).symlink_to(pack, target_is_directory=True)
        for other in more_packs:
            (custom_nodes / other.name).symlink_to(other.resolve(), target_is_directory=True)
        (folder / "input").mkdir()
        shutil.copy(comfyui / "input" / "example.png", folder / "input")  # as in every installation
        self._process = self._launch(comfyui, arguments)
        try:
            self._wait_until_up()
            self._listener = Listener(self.url)
        except BaseException:
            self._end_process()
            raise

    def __enter__(self) -> ComfyServer:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._listener.close()
        self._end_process()

    @property
    def log(self) -> str:
        return self._log_file.read_text("utf-8", errors="replace")

    @property
    def rss(self) -> int:
        """Bytes of memory that the process holds (Linux)."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str) -> Any:
        """JSON at a path."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        return self._request(path)

    def queue(self, prompt: dict[str, Any], workflow_id: str | None = None) -> str:
        """Queue a workflow in API format; gives the prompt's id.

        workflow_id: that of the graph in the frontend that the prompt comes from, if it does.

        Raises:
            Refused: ComfyUI rejects the prompt; the message is its answer.
        """
        body: dict[str, Any] = {"prompt": prompt, "client_id": CLIENT}
        if workflow_id is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": {"id": workflow_id}}}
        return json.loads(self._request("/prompt", body))["prompt_id"]

    def follow(
        self, prompt_id: str, timeout: float = 300, on_event: Callable[[Event, Run], None] | None = None
    ) -> Run:
        """Collect what a prompt sends until it ends; `on_event` may act in between, say, interrupt."""
        run, deadline = Run(prompt_id), time.monotonic() + timeout
        while run.status is None:
            event = self._next_event(deadline, run)
            if event.data.get("prompt_id", prompt_id) != prompt_id:
                continue
            run.events.append(event)
            if on_event:
                on_event(event, run)
        return run

    def run(self, prompt: dict[str, Any], workflow_id: str | None = None, **options) -> Run:
        """`queue`, then `follow`."""
        return self.follow(self.queue(prompt, workflow_id), **options)

    def post(self, path: str, body: Any) -> Any:
        """JSON that answers JSON."""
        return json.loads(self._request(path, body))

    def interrupt(self) -> None:
        self._request("/interrupt", {})

    def free(self) -> None:
        """Let ComfyUI forget models and cached outputs, and wait until it has."""
        self._request("/free", {"unload_models": True, "free_memory": True})
        time.sleep(2)  # the worker looks at the request when its queue wakes it, and says nothing

    def history(self, prompt_id: str) -> dict[str, Any]:
        """What the server keeps of a prompt; it writes that after it has sent the end."""
        deadline = time.monotonic() + 30
        while not (found := self.get(f"/history/{prompt_id}")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found[prompt_id]

    def files(self, prompt_id: str) -> dict[str, bytes]:
        """Every file that the outputs of a prompt name, by file name."""
        results = [
            item
            for output in self.history(prompt_id)["outputs"].values()
            for items in output.values()
            for item in (items if isinstance(items, list) else ())
            if isinstance(item, dict) and "filename" in item
        ]
        return {item["filename"]: self.view(item) for item in results}

    def view(self, item: dict[str, str]) -> bytes:
        """The file that an output names: `filename`, `subfolder`, `type`."""
        names = ("filename", "subfolder", "type")
        return self.get_bytes("/view?" + urllib.parse.urlencode({name: item[name] for name in names}))

    def _launch(self, comfyui: Path, arguments: tuple[str, ...]) -> subprocess.Popen:
        command = [
            sys.executable, "main.py", "--cpu", "--base-directory", str(self.folder), "--port", str(self.port),
            "--database-url", "sqlite:///:memory:", "--disable-api-nodes", "--disable-auto-launch", *arguments,
        ]  # fmt: skip
        # A toy model is faster on one thread, and a caller's safe path would hide ComfyUI's own modules. What is
        # freed goes back to the system at once, so that its view of the process shows what is really held.
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "1"}
        environment |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "65536")
        environment.pop("PYTHONSAFEPATH", None)
        with self._log_file.open("wb") as log:
            return subprocess.Popen(
                command, cwd=comfyui, env=environment, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended with {self._process.returncode}:\n{self.log}")
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"ComfyUI did not answer in {START_SECONDS} s:\n{self.log}")

    def _next_event(self, deadline: float, run: Run) -> Event:
        try:
            event = self._listener.events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            seen = [event.type for event in run.events[-5:]]
            raise TimeoutError(f"prompt {run.prompt_id} did not end; last events: {seen}\n{self.log}") from None
        if event is None:
            raise ConnectionError(f"the server closed its websocket:\n{self.log}")
        return event

    def _request(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error

    def _end_process(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                try:
                    self._process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    continue


class Listener:
    """Reads the websocket in a thread of its own; `events` ends with None."""

    def __init__(self, url: str):
        self.events: queue.Queue[Event | None] = queue.Queue()
        self._url = f"{url}/ws?clientId={CLIENT}"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout=30):
            raise TimeoutError("the websocket does not answer")

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=10)

    def _main(self) -> None:
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self.events.put(None)
            self._loop.close()

    async def _listen(self) -> None:
        from aiohttp import ClientSession

        async with ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket_:
            # Said first, as the stock frontend does: then previews name the node they belong to.
            flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            await socket_.send_json(flags)
            async for message in socket_:
                if event := parse(message.data):
                    self.events.put(event)
                if event and event.type == "feature_flags":
                    self._ready.set()


def parse(message: str | bytes) -> Event | None:
    """A websocket message as an event; None for binary ones of another kind."""
    now = time.monotonic()
    if isinstance(message, str):
        content = json.loads(message)
        return Event(content["type"], content.get("data") or {}, now)
    kind, body = struct.unpack(">I", message[:4])[0], message[4:]
    length, rest = struct.unpack(">I", body[:4])[0], body[4:]
    if kind == PREVIEW_WITH_METADATA:
        return Event("preview", {**json.loads(rest[:length]), "image": rest[length:]}, now)
    if kind == PREVIEW:
        return Event("preview", {"image": rest}, now)
    if kind == TEXT:
        return Event("progress_text", {"node_id": rest[:length].decode(), "text": rest[length:].decode()}, now)
    return None


def end_with_parent() -> None:
    """Run in the new process: no server stays behind when the tests are killed."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of Linux
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve_while(arguments: list[str]) -> int:
    """Run a command beside a fresh server; its exit code."""
    packs = tuple(Path(part.removeprefix(_PACK)) for part in arguments if part.startswith(_PACK))
    given = tuple(part.removeprefix(_ARGUMENT) for part in arguments if part.startswith(_ARGUMENT))
    command = [part for part in arguments if not part.startswith((_PACK, _ARGUMENT))]
    comfyui = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "ComfyUI").expanduser()
    pack = Path(__file__).resolve().parents[3]
    with (
        tempfile.TemporaryDirectory() as folder,
        ComfyServer(comfyui, pack, Path(folder), given, packs) as server,
    ):
        return subprocess.run([part.replace("{url}", server.url) for part in command]).returncode


if __name__ == "__main__":
    sys.exit(serve_while(sys.argv[1:]))
