import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.cli.models import count_latents
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.video import pixel_frames

chunks = st.integers(1, 8)


@given(st.floats(0.01, 1e4), chunks)
def test_seconds_give_the_shortest_whole_chunks_that_last_as_long(seconds, chunk):
    latents = count_latents(None, seconds, 21, chunk)
    assert latents % chunk == 0
    assert pixel_frames(latents) >= seconds * 16
    assert latents == chunk or pixel_frames(latents - chunk) < seconds * 16


@given(st.integers(1, 1000), chunks)
def test_latents_are_whole_chunks_or_the_nearest_are_named(latents, chunk):
    if latents % chunk == 0:
        assert count_latents(latents, None, 21, chunk) == latents
        return
    with pytest.raises(DummyForcingError) as error:
        count_latents(latents, None, 21, chunk)
    named = [int(word) for word in str(error.value).split("--latents ")[1].split(" or ")]
    assert len(named) == 2 and all(each % chunk == 0 and count_latents(each, None, 21, chunk) for each in named)
    assert named[0] == chunk > latents or named[0] < latents < named[1]


def test_default_and_known_lengths():
    assert count_latents(None, None, 21, 3) == 21
    assert count_latents(None, 5.0, 21, 3) == 21
    assert pixel_frames(21) == 81
