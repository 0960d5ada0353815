"""Which back end a call takes: by name, by measurement, around broken libraries, never past the host's."""

import importlib.abc
import logging
import sys
import time

import pytest
import torch
from attention_cases import KEYS, TRITON, qkv

from dummy_forcing.kernels import ReadPlan, attend, backend_names, force_backend, forget_choices
from dummy_forcing.kernels.choice import fastest
from dummy_forcing.kernels.dispatch import Dispatcher, Implementation, bucket
from dummy_forcing.kernels.libraries import library

CPU = torch.device("cpu")
VARIABLE = "DUMMY_FORCING_ATTENTION"
RAGGED = ReadPlan((((0, 9), (11, 24)), ((4, 5),)))


@pytest.fixture(autouse=True)
def fresh(caplog):
    caplog.set_level(logging.INFO, logger="dummy_forcing")
    forget_choices()
    library.cache_clear()
    yield
    forget_choices()
    library.cache_clear()


class Counted:
    """A function that takes some time and counts its calls."""

    def __init__(self, seconds=0.0, error=None):
        self.calls, self.seconds, self.error = 0, seconds, error

    def __call__(self, *args):
        self.calls += 1
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return torch.zeros(1)


def lines(caplog, level=logging.INFO):
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# Measuring


def test_the_fastest_is_found_once_for_a_kind(caplog):
    slow, quick = Counted(0.05), Counted()
    candidates = {"slow": slow, "quick": quick}
    assert fastest("work", "kind", candidates, CPU) == "quick"
    measured = slow.calls, quick.calls
    assert min(measured) >= 2, "warmed up, then timed"
    assert fastest("work", "kind", candidates, CPU) == "quick"
    assert (slow.calls, quick.calls) == measured, "not timed again"
    assert fastest("work", "other kind", candidates, CPU) == "quick"
    assert slow.calls == 2 * measured[0]
    (line,) = lines(caplog)
    assert line.startswith("work: quick (fastest of quick ") and "slow" in line and line.endswith(" ms)")


def test_what_has_no_rival_is_not_timed(caplog):
    only = Counted()
    assert fastest("work", "kind", {"only": only}, CPU) == "only"
    assert only.calls == 0 and not lines(caplog)


def test_a_candidate_that_fails_is_out(caplog):
    broken, sound = Counted(error=RuntimeError("no kernel image\nis available")), Counted()
    assert fastest("work", "kind", {"broken": broken, "sound": sound}, CPU) == "sound"
    assert lines(caplog) == ["work: sound (the only one that ran; broken failed (RuntimeError: no kernel image))"]
    assert broken.calls == 1
    with pytest.raises(RuntimeError, match="one: OSError: a; two: RuntimeError: b"):
        fastest("work", "x", {"one": Counted(error=OSError("a")), "two": Counted(error=RuntimeError("b"))}, CPU)


def test_bugs_are_not_taken_for_broken_libraries():
    with pytest.raises(ZeroDivisionError):
        fastest("work", "kind", {"bug": Counted(error=ZeroDivisionError()), "sound": Counted()}, CPU)


def test_sizes_of_a_kind_are_within_a_factor_of_two():
    assert [bucket(n) for n in (4680, 8191, 8192)] == [13, 13, 14]


def test_nothing_is_timed_while_compiling():
    slow, quick = Counted(0.01), Counted()
    found = []

    def backend(graph, inputs):
        return graph.forward

    def compiled(x):
        found.append(fastest("work", "kind", {"slow": slow, "quick": quick}, CPU))
        return x + 1

    torch.compile(compiled, backend=backend)(torch.zeros(2))
    assert found == ["slow"] and slow.calls == quick.calls == 0
    assert fastest("work", "kind", {"slow": slow, "quick": quick}, CPU) == "quick", "nothing was kept"


def test_nothing_is_timed_where_torch_is_deterministic():
    """Times vary, and so would the last bits of a video."""
    slow, quick = Counted(0.01), Counted()
    torch.use_deterministic_algorithms(True)
    try:
        assert fastest("work", "kind", {"slow": slow, "quick": quick}, CPU) == "slow"
        work = dispatcher(slow=(slow, {}), quick=(quick, {}))
        work("kind", CPU)
        work("kind", CPU)
    finally:
        torch.use_deterministic_algorithms(False)
    assert (slow.calls, quick.calls) == (2, 0)
    work("kind", CPU)
    assert quick.calls > 0


# Dispatching


def dispatcher(**functions):
    return Dispatcher(
        "work", [Implementation(name, run, "luck", **more) for name, (run, more) in functions.items()]
    )


def test_an_optional_implementation_that_breaks_is_left_with_one_line(caplog):
    broken, plain = Counted(error=RuntimeError("sm_120 is not supported")), Counted()
    work = dispatcher(broken=(broken, {"library": "json"}), plain=(plain, {"rank": 1}))
    for _ in range(3):
        assert torch.equal(work("kind", CPU), torch.zeros(1))
    assert broken.calls == 1 and plain.calls == 3
    assert lines(caplog, logging.WARNING) == [
        "work: broken failed (RuntimeError: sm_120 is not supported; going on without it)"
    ]


def test_errors_of_what_needs_no_library_and_full_memory_are_the_callers():
    with pytest.raises(RuntimeError, match="shapes"):
        dispatcher(plain=(Counted(error=RuntimeError("shapes")), {}))("kind", CPU)
    full = Counted(error=torch.cuda.OutOfMemoryError("full"))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        dispatcher(full=(full, {"library": "json"}), plain=(Counted(), {"rank": 1}))("kind", CPU)


def test_the_lowest_rank_that_fits_competes():
    first, second, third = Counted(), Counted(), Counted()
    work = dispatcher(
        first=(first, {"supports": lambda: False}), second=(second, {"rank": 1}), third=(third, {"rank": 2})
    )
    work("kind", CPU)
    assert (first.calls, second.calls, third.calls) == (0, 1, 0)
    with force_backend("reference"):  # a name of another dispatcher
        work("kind", CPU)
    assert second.calls == 2


def test_what_does_not_compete_runs_when_asked_for(monkeypatch):
    lossy, plain = Counted(), Counted()
    work = dispatcher(lossy=(lossy, {"competes": lambda: False}), plain=(plain, {}))
    work("kind", CPU)
    monkeypatch.setenv(VARIABLE, "lossy")
    work("kind", CPU)
    assert (lossy.calls, plain.calls) == (1, 1)


# Names


def test_a_variable_names_the_back_end(monkeypatch, caplog):
    q, k, v = qkv(2)
    monkeypatch.setenv(VARIABLE, "flex")
    attend(q, k, v, RAGGED)
    attend(q, k, v, RAGGED)
    assert lines(caplog) == [f"attention: flex (asked for by {VARIABLE})"]


def test_a_variable_that_does_not_fit_goes_on_without(monkeypatch, caplog):
    """In code the same is an error: a test must not pass by another back end."""
    q, k, v = qkv(2)
    expected = attend(q, k, v, RAGGED)
    caplog.clear()
    for name in ("flash2", "sage", "varlen"):
        plan = ReadPlan(RAGGED.ranges, torch.zeros(2, KEYS)) if name == "varlen" else RAGGED
        monkeypatch.setenv(VARIABLE, name)
        for _ in range(2):
            torch.testing.assert_close(attend(q, k, v, plan), expected, atol=1e-5, rtol=1e-5)
        monkeypatch.delenv(VARIABLE)
        with force_backend(name), pytest.raises(ValueError, match=f"'{name}' cannot run this call; it needs"):
            attend(q, k, v, plan)
    assert [line.split(" ")[0] for line in lines(caplog, logging.WARNING)] == [
        f"{VARIABLE}={name}" for name in ("flash2", "sage", "varlen")
    ]


def test_a_misspelt_variable_is_said_once(monkeypatch, caplog):
    q, k, v = qkv(2)
    expected = attend(q, k, v, RAGGED)
    monkeypatch.setenv(VARIABLE, "flash")
    for _ in range(3):
        assert torch.equal(attend(q, k, v, RAGGED), expected)
    (line,) = lines(caplog, logging.WARNING)
    assert "DUMMY_FORCING_ATTENTION=flash is no attention back end; there are grouped, varlen, triton" in line


def test_every_name_is_there_once():
    assert len(set(backend_names())) == len(backend_names())
    assert {"grouped", "varlen", "triton", "flex", "reference", "sdpa", "cudnn", "flash2", "flash3"} < set(
        backend_names()
    )


def test_sage_is_taken_only_by_name():
    from dummy_forcing.kernels.dense_attention import DENSE

    sage = DENSE.table["sage"]
    assert not sage.competes(*qkv(1))
    assert all(other.competes(*qkv(1)) for name, other in DENSE.table.items() if name != "sage")


# Libraries


class Breaking(importlib.abc.MetaPathFinder):
    """Makes the import of a library fail."""

    def __init__(self, name, error):
        self.name, self.error = name, error

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise self.error


def break_import(monkeypatch, name, error):
    monkeypatch.setattr(sys, "meta_path", [Breaking(name, error), *sys.meta_path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    library.cache_clear()


BROKEN = [
    OSError("libcudart.so.12: cannot open shared object file"),
    ImportError("undefined symbol: _ZN3c104cuda9SetDeviceEi"),
    RuntimeError("0 active drivers"),
    AttributeError("module 'torch' has no attribute 'xpu'"),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_a_broken_library_costs_one_line(monkeypatch, caplog, error):
    q, k, v = qkv(2)
    expected = attend(q, k, v, RAGGED)
    caplog.clear()
    break_import(monkeypatch, "triton", error)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv(VARIABLE, "triton")
    for _ in range(3):
        assert torch.equal(attend(q, k, v, RAGGED), expected)
    about = [line for line in lines(caplog) if line.startswith("triton")]
    assert about == [
        f"triton is installed but cannot be imported ({type(error).__name__}: {error}): "
        "going on without it; reinstall it for this torch, or uninstall it"
    ]


def test_a_missing_library_costs_one_quiet_line(caplog):
    assert library("flash_attn_of_another_world") is None
    assert library("flash_attn_of_another_world") is None
    assert lines(caplog) == ["flash_attn_of_another_world is not installed: going on without it"]
    assert not lines(caplog, logging.WARNING)


@TRITON
def test_a_kernel_that_cannot_be_built_costs_one_line(monkeypatch, caplog):
    """No C compiler, too little shared memory, a driver that is too old: they show in the first call only."""
    from dummy_forcing.kernels import triton_kernel

    def build(function):
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    q, k, v = qkv(2)
    expected = attend(q, k, v, RAGGED)
    monkeypatch.setattr(triton_kernel, "built", build)
    monkeypatch.setenv(VARIABLE, "triton")
    for _ in range(3):
        assert torch.equal(attend(q, k, v, RAGGED), expected)
    about = [line for line in lines(caplog, logging.WARNING) if "C compiler" in line]
    assert len(about) == 1 and about[0].startswith(
        "attention: triton failed (RuntimeError: Failed to find C compiler"
    )


def test_libraries_for_gpus_are_not_even_looked_for_on_a_cpu(monkeypatch, caplog):
    for name in ("flash_attn", "flash_attn_interface", "triton", "sageattention"):
        break_import(monkeypatch, name, OSError("not for you"))
    attend(*qkv(2), RAGGED)
    assert not lines(caplog, logging.WARNING)


# The host's attention


def host_attention(calls):
    def dense(q, k, v):
        calls.append((q.shape[2], k.shape[1]))
        parts = (x.transpose(1, 2) for x in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2)

    return dense


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ((((0, 7),),) * 4, [(4, 7)]),
        ((((0, 7),), ((0, 7),), ((3, 9),), ()), [(2, 7), (1, 6)]),
        ((((0, 2), (5, 9), (12, 24)),) * 4, [(4, 18)]),
    ],
)
def test_the_hosts_attention_runs_what_dense_calls_serve(ranges, expected, caplog):
    calls, (q, k, v) = [], qkv(4)
    plan = ReadPlan(ranges)
    found = attend(q, k, v, plan, host_attention(calls))
    assert calls == expected
    assert lines(caplog) == ["attention: grouped (dense calls through the host's attention)"]
    with force_backend("reference"):
        torch.testing.assert_close(found, attend(q, k, v, plan), atol=1e-5, rtol=1e-5)


def test_a_back_end_asked_for_by_name_replaces_the_hosts(monkeypatch):
    calls, (q, k, v) = [], qkv(2)
    monkeypatch.setenv(VARIABLE, "varlen")
    attend(q, k, v, ReadPlan.prefix(2, 7), host_attention(calls))
    assert not calls
    monkeypatch.setenv(VARIABLE, "sdpa")  # a dense attention: the host has its own
    attend(q, k, v, ReadPlan.prefix(2, 7), host_attention(calls))
    assert calls == [(2, 7)]


def test_dense_keys_are_viewed_not_copied():
    """Heads that read one range see the store itself, also where they are every other one."""
    seen, (q, k, v) = [], qkv(6)

    def dense(q, keys, values):
        seen.append((keys.data_ptr() - k.data_ptr(), values.untyped_storage().data_ptr()))
        return torch.zeros_like(q)

    plan = ReadPlan((((2, 9),), ((4, 9),)) * 3)
    attend(q, k, v, plan, dense)
    assert seen == [
        ((2 * 6 + 0) * 16 * 4, v.untyped_storage().data_ptr()),
        ((4 * 6 + 1) * 16 * 4, v.untyped_storage().data_ptr()),
    ]
