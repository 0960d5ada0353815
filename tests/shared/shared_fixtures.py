"""Fixtures of the tests with and without ComfyUI; both `conftest.py` import them."""

import gc
import weakref

import pytest
import torch

from dummy_forcing.core.methods.pass_skip.run import PassSkipRun


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors of a few hundred numbers are several times slower on more than one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_gc():
    """What is freed now is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def residuals(monkeypatch):
    """Weak references to every residual, taken right after the pass that made it."""
    seen, call = [], PassSkipRun.__call__

    def watched(self, *args):
        out = call(self, *args)
        if self._residual is not None:
            seen.append(weakref.ref(self._residual))
        return out

    monkeypatch.setattr(PassSkipRun, "__call__", watched)
    return seen
