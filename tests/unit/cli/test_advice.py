"""What an error advises is accepted when it is typed."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.cli import generate
from dummy_forcing.cli.given import given_latents_of
from dummy_forcing.cli.main import main
from dummy_forcing.core.media.video_file import VideoWriter

from .conftest import make_model

MOST_TURNS = 3
ADVICE = (
    (re.compile(r"use (?:.* or )?--latents (\d+)"), "--latents"),
    (re.compile(r"use --latents (\d+)"), "--latents"),
    (re.compile(r"use (?:at most )?--size (\d+x\d+)"), "--size"),
    (re.compile(r"use a size of at least (\d+)"), "--window"),
    (re.compile(r"a budget of at least (\d+)"), "--budget"),
    (re.compile(r"use at least (\d+)"), "--budget"),
    (re.compile(r"list passes from (\d+) to"), "--skip-passes"),
    (re.compile(r"classification chunk is .*expected at least (\d+)"), "--classification-chunk"),
)


class Accepted(Exception):
    """All has been checked: the video would begin."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files by their height, width and frames."""
    import torch

    folder = tmp_path_factory.mktemp("given")
    found = {}
    for height, width, frames in ((32, 48, 9), (64, 32, 5), (70, 131, 9), (32, 48, 13), (32, 48, 1)):
        found[height, width, frames] = folder / f"{height}x{width}x{frames}.gif"
        with VideoWriter(found[height, width, frames], 16) as video:
            video.write(torch.zeros(frames, height, width, 3))
    return found


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A function: what the command says of its options, or None where the video would begin."""
    folder, model = tmp_path_factory.mktemp("out"), make_model(seed=0)

    def begin(args, request, model, config, prompts, console):
        given_latents_of(request.given, model, config)
        raise Accepted

    def ask(options, capture):
        argv = [str(each) for option in options.items() for each in option if each is not None]
        try:
            assert main(["generate", "--output", str(folder / "a.gif"), *argv], lambda choice: model) == 2
        except Accepted:
            return None
        return capture()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "_write_video", begin)
        yield ask


@pytest.fixture
def follow(ask, capsys):
    """A function that types what is advised until the video begins; returns what was said on the way."""

    def follow(options):
        said = []
        for _ in range(MOST_TURNS):
            message = ask(options, lambda: capsys.readouterr().err)
            if message is None:
                return said
            said.append(message)
            found = next(((option, hit[1]) for rule, option in ADVICE if (hit := rule.search(message))), None)
            if found is None:
                return said
            options = {key: value for key, value in options.items() if key != "--seconds"} | dict([found])
        raise AssertionError(f"the advice does not help: {said}")

    return follow


GIVEN = [(None, None), ("--image", (32, 48, 1)), ("--extend", (32, 48, 13)), ("--source", (32, 48, 9))]
COMMON = settings(max_examples=40, deadline=None)


def test_lengths(follow, files):
    @COMMON
    @given(
        st.sampled_from(["--latents", "--seconds"]),
        st.integers(1, 20),
        st.sampled_from(GIVEN),
        st.booleans(),
    )
    def check(how, length, given_file, saves):
        option, file = given_file
        options = {how: length} | ({option: files[file]} if option else {})
        if saves and option != "--source":  # a source may be too short for any classification
            options["--save-profile"] = "heads.safetensors"
        follow(options)

    check()


@pytest.mark.parametrize("option", ["--extend", "--source"])
@pytest.mark.parametrize("file", [(64, 32, 5), (70, 131, 9), (32, 48, 13)])
def test_sizes(follow, files, option, file):
    said = follow({option: files[file]})
    assert all("--size 70x131" not in message for message in said)


def test_methods(follow):
    @COMMON
    @given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2))
    def check(window, sink, budget, skipped, classified):
        follow({"--policy": "window", "--window": window, "--sink": sink})
        merging = {"--merge": "temp-cache", "--budget": budget}
        follow({"--policy": "window", "--window": max(window, sink + 3), "--sink": sink} | merging)
        follow({"--policy": "dense"} | merging)
        follow({"--skip-passes": skipped})
        follow({"--classification-chunk": classified})

    check()
