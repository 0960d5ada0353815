"""Speed presets: what they set, and how far a family takes them."""

import pytest

from dummy_forcing.core.checkpoints.families.running import COMMON, family_loop, family_memory
from dummy_forcing.core.checkpoints.families.table import FAMILIES
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.presets import PRESETS, fit_preset, speed_preset
from dummy_forcing.core.video import VideoShape


def fitted(preset, name):
    family = FAMILIES[name]
    return fit_preset(PRESETS[preset], family, family_loop(family))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_every_preset(preset, name):
    """What comes out can run: the memory fits the chunks, skipped passes exist, and JSON gives it back."""
    family, found = FAMILIES[name], fitted(preset, name)
    found.memory.keep.begin(VideoShape(30, 12, family.chunk_frames))
    if found.skip is not None:
        found.skip.check(len(family.sigmas) - 1)
    assert MemoryConfig.from_dict(found.memory.to_dict()) == found.memory
    assert len(found.describe()) == 3 + len(found.notes)


def test_presets_go_from_best_to_fastest():
    quality, balanced, fastest = PRESETS.values()
    assert quality.keep.dummy_ratio < balanced.keep.dummy_ratio == fastest.keep.dummy_ratio
    assert not quality.fp8 and not quality.decoders and quality.skip is None
    assert isinstance(balanced.select, LightForcing) and balanced.fp8 and balanced.skip is None
    assert fastest.keep.local_context < balanced.keep.local_context and fastest.skip and fastest.fp8


@pytest.mark.parametrize("name", ["rolling-forcing", "krea-realtime-14b"])
def test_loops_in_which_heads_cannot_be_measured_keep_their_memory(name):
    found = fitted("max", name)
    assert found.memory == family_memory(FAMILIES[name]) and found.skip is None
    assert "heads cannot be measured" in found.notes[0]


def test_a_model_of_one_step_skips_nothing():
    found = fitted("max", "causal-forcing-1step")
    assert found.skip is None and isinstance(found.memory.keep, DummyForcing)
    assert "cannot be skipped" in found.notes[0]


def test_an_unknown_model_takes_everything():
    found = fit_preset(PRESETS["max"], None, COMMON)
    assert (found.memory.keep, found.skip, found.notes) == (PRESETS["max"].keep, PRESETS["max"].skip, ())


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(DummyForcingError, match=r"preset 'turbo'; expected one of quality, balanced, max"):
        speed_preset("turbo")
