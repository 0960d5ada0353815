"""A node pack for the browser's tests: a stream of pictures that show their own number, through the live view."""

import importlib.util
import sys
import time
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

SHARED = Path(__file__).resolve().parents[3] / "shared" / "numbered_frames.py"
WIDTH, HEIGHT = 128, 64


class NumberedStream(io.ComfyNode):
    """Streams as Stream AR Video does, without a model."""

    @classmethod
    def define_schema(cls):
        numbers = [
            ("chunks", 10_000),
            ("frames", 100),
            ("chunks_a_second", 1000),
            ("frame_rate", 120),
            ("run", 2**31),
        ]
        inputs = [io.Int.Input(name, default=1, min=1, max=most) for name, most in numbers]
        return io.Schema(
            node_id="TestNumberedStream", category="tests", is_output_node=True, inputs=inputs, outputs=[]
        )

    @classmethod
    def execute(cls, chunks, frames, chunks_a_second, frame_rate, run):
        live, streams, tally = (pack_module(name) for name in ("live_stream", "live_streams", "tally"))
        place = live.StreamPlace("numbered", "1", f"numbered-{run}")
        stream = streams.STREAMS.open(place, live.StreamSize(WIDTH, HEIGHT, frame_rate, chunks, chunks * frames))
        standing = tally.Standing(chunks, 0, 0, None, 2**20)
        for chunk in range(chunks):
            stream.add_chunk(numbered(chunk * frames, frames), standing)
            time.sleep(1 / chunks_a_second)
        stream.close("finished")
        return io.NodeOutput()


def pack_module(name):
    """A module of the pack, whose own name depends on the folder that ComfyUI found it in."""
    return next(
        module for path, module in sys.modules.items() if path.endswith(f"dummy-forcing.{HOMES[name]}.{name}")
    )


HOMES = {"live_stream": "nodes.live", "live_streams": "nodes.live", "tally": "core.stream"}


def numbered(first, count):
    spec = importlib.util.spec_from_file_location("numbered_frames", SHARED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.numbered(first, count)


class Extension(ComfyExtension):
    """The pack."""

    async def get_node_list(self):
        return [NumberedStream]


async def comfy_entrypoint():
    return Extension()
