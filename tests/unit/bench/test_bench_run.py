"""Benchmarks of a tiny model from end to end."""

import json

import pytest
import torch

from dummy_forcing.core.bench.plot import check_plottable, draw_costs
from dummy_forcing.core.bench.run_bench import run_bench
from dummy_forcing.core.bench.shapes import backbone_outline, with_random_weights
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.methods.pass_skip import PassSkip

TOKEN = 2 * 4 * 2 * 48  # K and V, fp32, layers, width
FRAME = 4 * TOKEN  # latents 4 x 4


def test_a_chunk_behind_a_filled_history(setting):
    result = run_bench(setting("dense", "window:6:0", "dummy-forcing:0.5", lengths=(9, 21)))
    rows = {(row.policy, row.latent_frames): row for row in result.rows}
    assert len(rows) == 6
    assert rows["dense", 21].kv_bytes == 21 * FRAME
    assert rows["window:6:0", 21].kv_bytes == rows["window:6:0", 9].kv_bytes == 6 * FRAME
    assert rows["dummy-forcing:0.5", 21].kv_bytes == 4.5 * FRAME  # M1: 21 % of dense
    for row in rows.values():
        assert 0 < row.attention_seconds < row.seconds_per_chunk
        assert row.other_seconds == pytest.approx(row.seconds_per_chunk - row.attention_seconds)
        assert row.ratio_to_dense > 0 and row.ideal_ratio >= 1
        assert row.decode_fps > 0 and row.end_to_end_fps < row.dit_fps
        assert len(row.samples) == 2 and [each.chunk for each in row.chunks] == [row.latent_frames // 3 - 1]
    assert rows["dummy-forcing:0.5", 21].ideal_attention_ratio == pytest.approx(21 / 4.5)


def test_a_clip_is_measured_chunk_by_chunk(setting):
    result = run_bench(setting("dense", "dummy-forcing:0.5", clip=True, decode=False, lengths=(12,)))
    dense, forcing = result.rows
    assert [each.latent_frames for each in dense.chunks] == [3, 6, 9, 12]
    assert [each.key_frames for each in dense.chunks] == [3, 6, 9, 12]
    assert forcing.chunks[0].kv_bytes > forcing.chunks[1].kv_bytes == forcing.chunks[3].kv_bytes
    assert 0 < forcing.classification_seconds < forcing.seconds_per_chunk * 4
    assert dense.classification_seconds is dense.decode_fps is dense.attention_seconds is None


def test_skipped_passes_are_counted_out(setting):
    plain, skipping = (
        run_bench(setting("dense", decode=False, repeats=1, skip=skip)).rows[0]
        for skip in (None, PassSkip(passes=(1, 2)))
    )
    assert skipping.tflop_per_chunk / plain.tflop_per_chunk == pytest.approx(3 / 5, rel=0.05)


def test_bytes_are_the_same_in_chunk_10_and_chunk_1000(setting):
    """M2, as far as keys and values go."""
    near, far = (
        run_bench(setting("dummy-forcing:0.5", decode=False, repeats=1, warm_up=0, lengths=(3 * chunks,))).rows[0]
        for chunks in (10, 1000)
    )
    assert near.kv_bytes == far.kv_bytes


def test_no_room_is_said_before_anything_is_made(setting, monkeypatch):
    from dummy_forcing.core.bench import resources

    given = setting("dense")
    monkeypatch.setattr(resources, "free_bytes", lambda device: given.needed_bytes() - 1)
    with pytest.raises(DummyForcingError, match="fewer --layers") as caught:
        run_bench(given)
    assert "\n" not in str(caught.value)


def test_the_estimate_covers_weights_and_all_memories(setting):
    one, two = setting("dense", decode=False), setting("dense", "window:6:0", decode=False)
    assert two.needed_bytes() - one.needed_bytes() == 6 * FRAME
    assert one.needed_bytes(workers=1) > one.needed_bytes() + 9 * FRAME


def test_random_weights_are_seeded_and_keep_activations_finite(setting):
    shape = setting("dense").shape.wan
    first, same, other = (
        with_random_weights(backbone_outline(shape), seed, torch.device("cpu"), torch.float32).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["blocks.0.ffn.0.weight"], other["blocks.0.ffn.0.weight"])
    assert torch.equal(first["blocks.0.self_attn.norm_q.weight"], torch.ones(48))
    assert torch.equal(first["blocks.0.ffn.0.bias"], torch.zeros(64))


def test_a_picture_of_time_over_length(setting):
    result = run_bench(setting("dense", "window:6:0", repeats=1, decode=False, lengths=(3, 9, 21)))
    picture = draw_costs(result.rows, "tiny")
    colours = {colour for _, colour in picture.getcolors(maxcolors=100_000)}
    assert picture.width > picture.height > 400 and {(240, 120, 90), (110, 190, 250)} <= colours


def test_one_point_is_no_picture():
    with pytest.raises(DummyForcingError, match="--lengths"):
        check_plottable((21,), clip=False)
    check_plottable((21,), clip=True)
    check_plottable((3, 21), clip=False)


def test_rows_survive_json(setting):
    (row,) = run_bench(setting("dummy-forcing:0.5", repeats=1, warm_up=0, decode=False)).rows
    assert json.loads(json.dumps(row.to_dict(), allow_nan=False))["policy"] == "dummy-forcing:0.5"
