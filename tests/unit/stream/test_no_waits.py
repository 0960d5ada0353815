"""Nothing in a pass waits for the device: no number is read from it, no copy to it is waited for.

The meta device stands in for a GPU: it cannot give numbers at all, and copies to it are seen by a dispatch mode.
"""

import contextlib
import copy
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnSA
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.pass_skip import PassSkip
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.denoiser import BackboneDenoiser
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.passes import Passes
from dummy_forcing.core.wan.container import CausalWan

ROLES = ((0, 1, 2, 2), (2, 1, 1, 0))

MEMORIES = {
    "dense": MemoryConfig(Dense()),
    "window": MemoryConfig(Window(sink=1, size=3), Relative()),
    "dummy forcing": MemoryConfig(DummyForcing(roles=ROLES), Relative(4)),
}
METHODS = {
    "light forcing": MemoryConfig(Dense(), select=LightForcing()),
    "ann": MemoryConfig(Dense(), select=AnnSA(min_frames=2, dense_passes=0)),
    "temp cache": MemoryConfig(Dense(), merge=TempCache()),
    "quantised": MemoryConfig(DummyForcing(roles=ROLES), merge=QuantisedKV()),
}


class Numbers(TorchFunctionMode):
    """Notes tensors made of Python's numbers on the device: copies that wait, and that no dispatcher sees."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        out = function(*arguments, **(keywords or {}))
        if function in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor) and out.device.type == "meta":
            self.waits.append(function.__name__)
        return out


class Traffic(TorchDispatchMode):
    """Notes what crosses from the CPU to the device, and whether that waits."""

    def __init__(self):
        super().__init__()
        self.waits, self.copies = [], 0
        self.numbers = Numbers(self.waits)

    def __enter__(self):
        self.numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.numbers.__exit__(*failure)

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        out = function(*arguments, **keywords)
        name = function.name()
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"):
            self.waits += [name] * (arguments[0].device.type == "meta")
        elif name in ("aten::copy_", "aten::_to_copy") or name.startswith("aten::to."):
            source = arguments[name == "aten::copy_"]
            if source.device.type == "cpu" and out.device.type == "meta":
                self.copies += 1
                waits = not keywords.get("non_blocking", False)
                self.waits += [f"{name} {list(source.shape)}"] * waits
        return out


@pytest.fixture(scope="module")
def model(tiny_wan):
    with torch.device("meta"):
        return CausalWan(tiny_wan.shape).eval().requires_grad_(False)


def traffic(model, config):
    """Of each chunk."""
    shape = model.shape
    text = torch.empty(1, 5, shape.text_dim, device="meta")
    found = []
    stream = stream_video(model, text, config, SeededNoise(0))
    while True:
        with Traffic() as seen:
            event = next((each for each in stream if isinstance(each, ChunkDone)), None)
        if event is None:
            return found
        found.append(seen)


def config(memory, **changes):
    given = {"sigmas": (1.0, 0.8, 0.5, 0.0), "chunk_frames": 2, "total_frames": 12} | changes
    return StreamConfig(latent_size=(4, 6), channels=4, memory=memory, **given)


@pytest.mark.parametrize("memory", list(MEMORIES))
@pytest.mark.parametrize("skip", [None, PassSkip(passes=(1,))], ids=["all passes", "one skipped"])
def test_a_chunk_gets_its_noise_and_its_positions_and_waits_for_nothing(model, memory, skip):
    seen = traffic(model, config(MEMORIES[memory], skip=skip))
    assert len(seen) == 6
    assert [each.waits for each in seen] == [[]] * 6
    noises = 3
    tables = 2 if memory == "window" else 1  # of RoPE: the chunk's, and of opening frames that move along
    assert all(noises <= each.copies <= noises + tables for each in seen[3:])  # heads have been looked up


@pytest.mark.parametrize("method", list(METHODS))
def test_other_methods_wait_for_nothing_either(model, method):
    seen = traffic(model, config(METHODS[method], sigmas=(1.0, 0.5, 0.0)))
    assert [each.waits for each in seen] == [[]] * 6


def test_joint_passes_of_several_levels(model):
    memory = MemoryConfig(RollingWindow(sink=2, size=6))
    seen = traffic(model, config(memory, rolling=True))
    assert [each.waits for each in seen] == [[]] * len(seen)


def test_the_test_sees_what_waits():
    with Traffic() as seen:
        torch.tensor([1.0, 2.0]).to("meta")
        torch.empty(3, device="meta").copy_(torch.zeros(3))
        torch.zeros(3).to("meta", non_blocking=True)
        torch.tensor([1.0], device="meta").new_tensor([2.0])
    assert len(seen.waits) == 4 and seen.copies == 3
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.empty(1, device="meta").item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("memory", list(MEMORIES))
def test_settled_passes_on_a_gpu(tiny_wan, memory):
    """The first chunks measure back ends and look heads up; from then on torch raises where something waits."""
    model = copy.deepcopy(tiny_wan).cuda().bfloat16()
    settings = config(MEMORIES[memory], total_frames=40)
    text = torch.randn(1, 5, model.shape.text_dim, device="cuda").bfloat16()
    denoiser = BackboneDenoiser(model, text, settings.memory, settings.shape_for(model, text))
    passes = Passes(denoiser, settings, SeededNoise(0))
    with contextlib.closing(denoiser):
        for clock in settings.chunks():
            torch.cuda.set_sync_debug_mode("error" if clock.chunk in range(9, 15) else "default")
            try:
                x = passes.draw(clock, 0)
                for index, sigma in enumerate(settings.sigmas[:-1]):
                    clock = replace(clock, pass_index=index, sigma=sigma)
                    x = passes.renoise(passes.denoise(x, clock), clock, settings.sigmas[index + 1])
                passes.keep(x, replace(clock, pass_index=len(settings.sigmas) - 1, sigma=0.0, clean=True))
            finally:
                torch.cuda.set_sync_debug_mode("default")
