import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.lengths import fitting_lengths, length_from_source, whole_chunks

lengths, chunks, openings = st.integers(1, 500), st.integers(1, 8), st.integers(0, 20)


def from_source(source, wanted, chunk, opening):
    return length_from_source(source, wanted, chunk, opening, "the source", lambda length: f"use {length}")


@given(lengths, chunks, openings)
def test_the_nearest_lengths_of_whole_chunks(latents, chunk, opening):
    found = fitting_lengths(latents, chunk, opening)
    assert all(length > opening and (length - opening) % chunk == 0 for length in found)
    assert found[1] == found[0] + chunk > latents
    assert found[0] <= max(latents, opening + chunk)


@given(lengths, chunks, openings)
def test_a_source_is_rounded_down_to_whole_chunks_and_no_further(source, chunk, opening):
    if source < opening + chunk:
        with pytest.raises(DummyForcingError, match="less than a chunk"):
            from_source(source, None, chunk, opening)
        return
    made = from_source(source, None, chunk, opening)
    assert made == whole_chunks(source, chunk, opening)
    assert (made - opening) % chunk == 0 and opening < made <= source < made + chunk


@given(lengths, chunks, openings, st.integers(1, 50))
def test_the_length_that_a_short_source_is_said_to_be_enough_for_is_accepted(source, chunk, opening, more):
    if source < opening + chunk:
        return
    wanted = whole_chunks(source, chunk, opening) + more * chunk
    with pytest.raises(DummyForcingError) as error:
        from_source(source, wanted, chunk, opening)
    named = int(str(error.value).split("use ")[-1])
    assert from_source(source, named, chunk, opening) == named
