"""Keys and values live exactly as long as a sampling; no cycle keeps them for the garbage collector to find."""

import itertools
import json
import os
import sys
import weakref
from pathlib import Path

import pytest

from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.stream import denoiser
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.host.sampling_run import SamplingRun
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch

SAMPLERS = ("core_sampler", "our_sampler")
MODELS = {
    "unpatched": lambda model: model,
    "dense": lambda model: door.with_memory(model, MemoryConfig()),
    "dummy forcing": lambda model: DummyForcingPatch.execute(model, 0.5, 1).args[0],
}
CASES = [case for case in itertools.product(SAMPLERS, MODELS) if case != ("core_sampler", "unpatched")]


@pytest.fixture
def watched(monkeypatch):
    """Weak references to every run, every key tensor and every prompt tensor that is made."""
    seen = []
    start, allocate, encode = SamplingRun.__init__, FrameStore._allocate, denoiser.encode_prompt

    def watch_run(self, *args):
        start(self, *args)
        seen.append(weakref.ref(self))

    def watch_store(self, slots):
        allocate(self, slots)
        seen.extend(weakref.ref(each) for each in (self, self.k, self.v))

    def watch_prompt(*args):
        prompt = encode(*args)
        seen.extend(weakref.ref(tensor) for layer in prompt.layers for tensor in layer)
        return prompt

    monkeypatch.setattr(SamplingRun, "__init__", watch_run)
    monkeypatch.setattr(FrameStore, "_allocate", watch_store)
    monkeypatch.setattr(denoiser, "encode_prompt", watch_prompt)
    return seen


class StopAfter:
    """A sampler callback that acts once so many passes are done, and counts on."""

    def __init__(self, passes, act):
        self.passes, self.act, self.done = passes, act, 0

    def __call__(self, *_):
        self.done += 1
        if self.done == self.passes:
            self.act()


def fail():
    raise RuntimeError("out of memory")


def alive(references):
    return [found for found in (each() for each in references) if found is not None]


@pytest.mark.parametrize(("maker", "kind"), CASES)
@pytest.mark.parametrize("end", ["success", "error", "interrupt"])
def test_reference_counts_free_everything(golden_model, host, maker, kind, end, no_gc, watched, sample, request):
    model, sampler = MODELS[kind](golden_model), request.getfixturevalue(maker)()
    if end == "success":
        sample(model, sampler, frames=9)
    elif end == "error":
        with pytest.raises(RuntimeError, match="out of memory"):
            sample(model, sampler, frames=9, callback=StopAfter(6, fail))
    else:
        stop = StopAfter(2, host.interrupt_current_processing)
        with pytest.raises(host.InterruptProcessingException):
            sample(model, sampler, frames=9, callback=stop)
        assert stop.done <= 3
    assert watched and not alive(watched)


def test_an_interrupt_that_keeps_chunks_frees_the_rest(golden_model, host, no_gc, watched, sample, our_sampler):
    stop = StopAfter(6, host.interrupt_current_processing)
    assert sample(golden_model, our_sampler(), frames=9, callback=stop).shape[2] == 3
    assert watched and not alive(watched)


@pytest.mark.parametrize("maker", SAMPLERS)
def test_the_weights_go_with_the_last_clone(golden, host, maker, no_gc, sample, request):
    """Also while ComfyUI still counts the model as loaded, patches and all."""
    import comfy.sd

    config = json.dumps({"transformer": {"causal_ar": True, "num_heads": 4, "text_dim": 32}})
    model = comfy.sd.load_diffusion_model_state_dict(golden("weights"), metadata={"config": config})
    backbone = weakref.ref(model.model.diffusion_model)
    forced = MODELS["dummy forcing"](model)
    sample(forced, request.getfixturevalue(maker)(), frames=3)
    assert backbone() is not None
    del model, forced
    assert backbone() is None


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("maker", SAMPLERS)
def test_twenty_runs_do_not_grow_the_process(golden_model, maker, no_gc, sample, request):
    model = MODELS["dummy forcing"](golden_model)

    def run(times):
        for _ in range(times):
            sample(model, request.getfixturevalue(maker)(), frames=9)
        return resident_bytes()

    before = run(5)
    assert run(20) - before < 4 * 2**20
