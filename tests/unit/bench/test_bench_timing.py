"""Turns, medians and parts of a time."""

import time

import pytest
import torch

from dummy_forcing.core.bench.timing import Stopwatch, TimedMemory, interleave

CPU = torch.device("cpu")


class Counted:
    """Writes down its turns; the result is the number of the sample."""

    def __init__(self, name, turns, log):
        self.name, self._turns, self._log, self._taken, self.closed = name, turns, log, 0, 0

    def sample(self):
        try:
            for _ in range(self._turns):
                self._log.append(self.name)
                yield
            self._taken += 1
        finally:
            self.closed += 1
        return self._taken


def test_subjects_take_turns():
    log = []
    entries = interleave([Counted("A", 3, log), Counted("B", 2, log), Counted("C", 1, log)], 2)
    assert "".join(log) == "ABCABA" * 2
    assert [(entry.name, entry.samples) for entry in entries] == [("A", (1, 2)), ("B", (1, 2)), ("C", (1, 2))]


def test_every_turn_is_announced():
    told = []
    interleave([Counted("A", 1, [])], 2, lambda repeat, name: told.append((repeat, name)))
    assert told == [(0, "A"), (0, "A"), (1, "A"), (1, "A")]  # the last turn of a sample finds that there are none


def test_an_error_closes_all_subjects():
    class Broken(Counted):
        def sample(self):
            yield
            raise RuntimeError("broken")

    first = Counted("A", 5, [])
    with pytest.raises(RuntimeError, match="broken"):
        interleave([first, Broken("B", 1, [])], 1)
    assert first.closed == 1


def test_a_stopwatch_times_its_block():
    watch = Stopwatch(CPU)
    with watch.running():
        time.sleep(0.02)
    assert 0.02 <= watch.seconds < 1


def test_time_in_attention_is_told_from_the_rest():
    class Slow:
        def attend(self, layer, q, k, v, clock, norm_rope, dense):
            time.sleep(0.01)
            return q + layer

    def norm_rope(q, k):
        time.sleep(0.1)
        return q + 10, k

    timed, q = TimedMemory(Slow(), CPU), torch.zeros(1)
    assert [timed.attend(layer, q, q, q, None, norm_rope, None).item() for layer in range(3)] == [10, 11, 12]
    assert 0.03 <= timed.take() < 0.3
    assert timed.take() == 0
