import dataclasses

import pytest

from dummy_forcing.core.checkpoints.families.table import FAMILIES, family

WARPED = (1.0, 0.9375, 0.625 * 4 / 3, 0.625, 0.0)


@pytest.mark.parametrize(
    ("name", "chunk", "size", "licence"),
    [
        ("toy-world", 3, (96, 96), "Apache-2.0"),
        ("self-forcing", 3, (480, 832), "CC-BY-NC-SA-4.0"),
        ("causal-forcing", 3, (480, 832), "Apache-2.0"),
        ("causal-forcing-framewise", 1, (480, 832), "Apache-2.0"),
        ("longlive", 3, (480, 832), "CC-BY-NC-SA-4.0"),
        ("raven", 3, (480, 832), "CC-BY-NC-4.0"),
        ("krea-realtime-14b", 3, (480, 832), "Apache-2.0"),
    ],
)
def test_rows(name, chunk, size, licence):
    row = family(name)
    assert (row.name, row.chunk_frames, row.pixel_size, row.licence) == (name, chunk, size, licence)
    assert row.shift == 5.0
    assert row.sigmas == pytest.approx(WARPED)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("causal-forcing-2step", (1.0, 5 / 6, 0.0)),
        ("causal-forcing-1step", (1.0, 0.0)),
        ("rolling-forcing", (1.0, 20 / 21, 15 / 17, 10 / 13, 5 / 9, 0.0)),
        ("causal-forcing-longvideo", WARPED),
        ("causvid", (1.0, 0.757, 0.522, 0.0)),
        ("causvid-4step", (1.0, 0.96, 8 / 9, 8 / 11, 0.0)),
        ("causal-rcm", (0.999, 0.937, 0.833, 0.625, 0.0)),
    ],
)
def test_noise_levels(name, levels):
    assert family(name).sigmas == pytest.approx(levels)


def test_the_first_chunk_of_few_step_models():
    for name in ("causal-forcing-2step", "causal-forcing-1step"):
        assert family(name).first_sigmas == pytest.approx(WARPED)
    assert all(row.first_sigmas is None for row in FAMILIES.values() if row.first_steps is None)


def test_steps_chosen_by_hand_are_even_under_the_shift():
    assert family("self-forcing").sigmas_of(2) == pytest.approx((1.0, 5 / 6, 0.0))
    assert family("causvid").sigmas_of(None) == family("causvid").sigmas


@pytest.mark.parametrize(
    ("name", "window", "sink", "rope"),
    [
        ("self-forcing", None, 0, "absolute"),
        ("longlive", 12, 3, "absolute"),
        ("reward-forcing", 9, 3, "relative"),
        ("infinity-rope", 6, 1, "relative"),
        ("rolling-forcing", 21, 3, "absolute"),
        ("self-gradient-forcing", 12, 3, "relative"),
        ("self-gradient-forcing-framewise", 21, 4, "relative"),
    ],
)
def test_windows(name, window, sink, rope):
    row = family(name)
    assert (row.window, row.sink, row.rope) == (window, sink, rope)


def test_loops():
    assert {row.name for row in FAMILIES.values() if row.loop == "rolling"} == {
        "rolling-forcing", "causal-forcing-longvideo",
    }  # fmt: skip
    rollouts = {
        row.name: (row.restart_frames, row.context_frames) for row in FAMILIES.values() if row.loop == "restart"
    }
    assert rollouts == {"causvid": (18, 3), "causvid-4step": (18, 3), "krea-realtime-14b": (3, 3)}


def test_only_longlive_needs_a_lora():
    assert [row.name for row in FAMILIES.values() if row.lora] == ["longlive"]
    assert family("longlive").lora.file == "lora.pt"


def test_the_table_is_consistent():
    assert all(row.name == name for name, row in FAMILIES.items())
    assert all(row.latent_frames % row.chunk_frames == 0 for row in FAMILIES.values())
    assert all(row.licence and row.source for row in FAMILIES.values())
    assert all((row.restart_frames is None) == (row.loop != "restart") for row in FAMILIES.values())
    assert all(row.window is None or row.sink + row.chunk_frames <= row.window for row in FAMILIES.values())
    assert len({row.title for row in FAMILIES.values()}) == len(FAMILIES)


def test_how_a_family_is_run_in_words():
    assert family("self-forcing").how_it_runs == "chunks of 3 latent frames; steps 1000, 750, 500, 250; shift 5"
    assert family("reward-forcing").how_it_runs.endswith(
        "reads 9 latent frames, the first 3 averaged with those that leave; positions counted within the window"
    )
    assert "in the first one 1000, 750, 500, 250" in family("causal-forcing-1step").how_it_runs
    assert family("causvid").how_it_runs.endswith("starts over every 18 latent frames from the last 3")


def test_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        family("self-forcing").shift = 3.0


def test_an_unknown_family(refused):
    with refused("'self_forcing'", "toy-world, self-forcing, causal-forcing, causal-forcing-framewise"):
        family("self_forcing")
