"""The score gives true renders nearly 1 and takes points for each thing a model can get wrong."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import conv2d, pad

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.world.render import render
from dummy_forcing.core.world.scene import Scenes, draw_scenes
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import SHAPES, parse_prompt, write_prompt

FRAMES = torch.arange(81)
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
BOUNCER = "a red circle moving right"


def draw(count, seed=5):
    """`count` (video, prompt) pairs of two objects each."""
    scenes = draw_scenes(count, torch.Generator().manual_seed(seed), single_share=0)
    return [(video, write_prompt(scenes.objects(index))) for index, video in enumerate(render(scenes, FRAMES))]


def bouncer(times=FRAMES, colour=0, lane=40.0, speed=2.0):
    """Frames of BOUNCER: it leaves at time 30, turns at 31, is back from 32 on."""

    def pair(value):
        return torch.tensor([[value, value]])

    return render(
        Scenes(
            colour=torch.tensor([[colour, -1]]),
            shape=pair(0),
            direction=pair(1),
            radius=pair(12.0),
            speed=pair(speed),
            start=pair(48.0),
            lane=pair(lane),
            tone=torch.tensor([0.3]),
        ),
        times,
    )[0]


def degrade(video, sigma=1.0, noise=0.03):
    kernel = torch.exp(-torch.arange(-4, 5.0).square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = pad(video.permute(0, 3, 1, 2).flatten(0, 1)[:, None], (4, 4, 4, 4), mode="replicate")
    blurred = conv2d(conv2d(planes, kernel[None, None, None]), kernel[None, None, :, None])
    blurred = blurred[:, 0].unflatten(0, (-1, 3)).permute(0, 2, 3, 1)
    grain = torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    return (blurred + noise * grain).clamp(0, 1)


def change(prompt, **how):
    """The prompt with words of all its objects replaced, e.g. shape=a function of the old word."""
    things = parse_prompt(prompt)
    return write_prompt(
        tuple(replace(thing, **{role: new(getattr(thing, role)) for role, new in how.items()}) for thing in things)
    )


@pytest.fixture(scope="module")
def pairs():
    return draw(5)


@pytest.fixture(scope="module")
def returning():
    return score_video(bouncer(), BOUNCER)


@pytest.mark.parametrize("spoil", [lambda video: video, degrade], ids=["clean", "blurred and noisy"])
def test_true_renders_score_nearly_one(pairs, spoil):
    totals = [score_video(spoil(video), prompt).total for video, prompt in pairs]
    assert min(totals) > 0.93 and max(totals) <= 1
    assert sum(totals) / len(totals) > 0.97


@pytest.mark.parametrize("length", [1, 5, 9, 33])
def test_short_videos(pairs, length):
    for video, prompt in pairs:
        assert score_video(degrade(video[:length]), prompt).total > 0.93


def test_long_videos_are_followed_through_many_turns():
    score = score_video(bouncer(torch.arange(300), speed=1.93), BOUNCER)
    assert score.total > 0.97
    assert score.objects[0].motion_fit.speed == pytest.approx(1.93, abs=0.01)


def test_the_hidden_quantities_are_measured(returning):
    fit = returning.objects[0].motion_fit
    assert (fit.speed, fit.start) == (pytest.approx(2.0, abs=0.03), pytest.approx(48, abs=1))
    assert (fit.lane, fit.radius) == (pytest.approx(40, abs=0.5), pytest.approx(12, abs=0.5))


def test_other_shapes_fail_the_shape_term_only(pairs):
    for video, prompt in pairs[:2]:
        for shift in (1, 2):
            wrong = change(prompt, shape=lambda word, by=shift: SHAPES[(SHAPES.index(word) + by) % 3])
            for item in score_video(video, wrong).objects:
                assert item.shape < 0.2 and item.colour > 0.95 and item.motion > 0.95


def test_the_opposite_direction_fails_the_motion_term_only(pairs):
    for video, prompt in pairs[:2]:
        for item in score_video(video, change(prompt, direction=OPPOSITE.get)).objects:
            assert item.motion < 0.6 and item.shape > 0.95 and item.colour > 0.9


def test_swapped_colours_lose(pairs):
    video, prompt = pairs[0]
    first, second = parse_prompt(prompt)
    swapped = write_prompt((replace(first, colour=second.colour), replace(second, colour=first.colour)))
    assert score_video(video, swapped).total < 0.8


def test_a_missing_object_scores_nothing(returning):
    score = score_video(bouncer(), BOUNCER + " and a green square moving up")
    present, missing = score.objects
    assert present.total == pytest.approx(returning.objects[0].total, abs=1e-3)
    assert missing.total < 0.2 and missing.motion_fit is None
    assert score.total == pytest.approx(present.total / 2, abs=0.01)


def test_another_colour_is_missing_and_an_intruder():
    score = score_video(bouncer(colour=4), BOUNCER)
    assert score.total == 0 and score.intruders > 0.02


def test_an_unprompted_object_costs_a_little(pairs):
    for video, prompt in pairs[:2]:
        first, _ = parse_prompt(prompt)
        score = score_video(video, write_prompt((first,)))
        assert score.intruders > 0.01 and score_video(video, prompt).intruders < 0.001
        assert 0.8 < score.total < score.objects[0].total - 0.02


def test_a_frozen_video_does_not_move(pairs):
    video, prompt = pairs[0]
    score = score_video(video[:1].expand(len(FRAMES), -1, -1, -1), prompt)
    assert all(item.motion < 0.3 for item in score.objects) and score.total < 0.8


def test_shuffled_frames_lose_their_motion(pairs):
    video, prompt = pairs[0]
    order = torch.randperm(len(FRAMES), generator=torch.Generator().manual_seed(0))
    assert all(item.motion < 0.45 for item in score_video(video[order], prompt).objects)


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros(20, 96, 96, 3),
        torch.full((20, 96, 96, 3), 0.5),
        torch.rand(20, 96, 96, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0.93, 0.20, 0.18]).expand(20, 96, 96, 3),
        torch.full((20, 96, 96, 3), torch.nan),
    ],
    ids=["black", "grey", "static", "all red", "nan"],
)
def test_pictures_of_nothing_score_nothing(video):
    assert score_video(video, BOUNCER + " and a blue square moving up").total < 0.1


def test_not_returning_costs_most(returning):
    gone = bouncer(torch.where(FRAMES < 35, FRAMES, 35))
    item = score_video(gone, BOUNCER).objects[0]
    assert returning.total > 0.97
    assert item.shape > 0.95 and item.motion < 0.7
    assert item.total < returning.total - 0.15


@pytest.mark.parametrize("what", ["lane", "speed", "late"])
def test_returning_otherwise_than_it_left_costs_motion(returning, what):
    later = FRAMES[35:]
    back = {
        "lane": lambda: bouncer(later, lane=56.0),
        "speed": lambda: bouncer(35 + 0.7 * (later - 35)),
        "late": lambda: bouncer((later - 12).clamp(min=35)),
    }[what]()
    item = score_video(torch.cat([bouncer(FRAMES[:35]), back]), BOUNCER).objects[0]
    assert 0.4 < item.motion < 0.9 < returning.objects[0].motion  # the first half is credited
    assert item.shape > 0.95


def test_faint_ghosts_are_overlooked():
    empty = bouncer(colour=-1)
    ghost = torch.lerp(empty, bouncer(FRAMES + 12), 0.2)
    assert score_video(torch.maximum(bouncer(), ghost), BOUNCER).total > 0.95


def test_colour_falls_gradually():
    scores = [
        score_video((bouncer(FRAMES[:9]) + torch.tensor([0.0, shift, 0.0])).clamp(0, 1), BOUNCER).objects[0]
        for shift in (0.0, 0.05, 0.1)
    ]
    exact, near, far = (item.colour for item in scores)
    assert exact > 0.97 and exact - 0.1 > near > far + 0.1 and far > 0.5
    assert all(item.shape == 1 and item.motion > 0.97 for item in scores)


def pair(directions, colours, shapes, radii, speeds, starts, lanes, frames):
    """Frames of two given objects."""
    rows = [torch.tensor([row]) for row in (colours, shapes, directions, radii, speeds, starts, lanes)]
    return render(Scenes(*rows, tone=torch.tensor([0.9])), frames)[0]


def test_an_object_passing_behind_another_is_not_blamed():
    video = pair((0, 1), (0, 4), (1, 0), (14.0, 11.0), (1.5, 2.0), (70.0, 26.0), (44.0, 46.0), FRAMES)
    assert score_video(video, "a red square moving left and a blue circle moving right").total > 0.95


@pytest.mark.parametrize("length", [7, 81])
def test_an_object_never_in_full_view_is_recognised(length):
    """The triangle comes out behind the circle only while the picture's border already cuts it off."""
    video = pair((1, 2), (2, 0), (0, 2), (12.7, 14.0), (1.3, 1.25), (46.0, 44.5), (34.2, 63.2), FRAMES[:length])
    score = score_video(video, "a green circle moving right and a red triangle moving up")
    assert score.objects[1].shape == 1 and score.total > 0.95


def test_report_is_json(returning):
    report = json.loads(json.dumps(returning.to_dict()))
    assert set(report) == {"total", "intruders", "objects"}
    assert report["objects"][0]["prompt"] == "red circle moving right"
    assert report["objects"][0]["motion_fit"]["lane"] == returning.objects[0].motion_fit.lane


def test_half_precision_gives_the_same_score(returning):
    assert score_video(bouncer().half(), BOUNCER).total == pytest.approx(returning.total, abs=0.01)


@pytest.mark.parametrize(
    ("video", "prompt", "message"),
    [
        (torch.zeros(5, 3, 96, 96), BOUNCER, "channels last"),
        (torch.zeros(5, 64, 64, 3), BOUNCER, "96x96"),
        (torch.zeros(0, 96, 96, 3), BOUNCER, "got \\[0, 96, 96, 3\\]"),
        (torch.zeros(5, 96, 96, 3, dtype=torch.uint8), BOUNCER, "divide by 255"),
        (torch.zeros(5, 96, 96, 3), "a red dog moving right", "does not know the word 'dog'"),
    ],
)
def test_refusals_say_why(video, prompt, message):
    with pytest.raises(DummyForcingError, match=message):
        score_video(video, prompt)


@pytest.mark.parametrize("begin", [0, 137, 7600])
def test_an_excerpt_may_begin_anywhere_on_the_way(begin):
    """Objects may be out of view at first, or on their way back."""
    scenes = draw_scenes(2, torch.Generator().manual_seed(5), single_share=0)
    for index, video in enumerate(render(scenes, begin + FRAMES)):
        score = score_video(video, write_prompt(scenes.objects(index)), excerpt=True)
        assert score.total > 0.97
        for item, speed in zip(score.objects, scenes.speed[index].tolist(), strict=True):
            assert abs(item.motion_fit.speed) == pytest.approx(speed, abs=0.03)


def test_no_excerpt_of_a_still_picture_moves():
    score = score_video(bouncer()[:1].expand(len(FRAMES), -1, -1, -1), BOUNCER, excerpt=True)
    assert score.objects[0].motion < 0.4
