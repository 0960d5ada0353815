"""The toy world's sentences: what is understood, what is refused and how they are embedded."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.world.vocabulary import (
    COLOURS,
    DIRECTIONS,
    EXAMPLE,
    SHAPES,
    TEXT_DIM,
    TEXT_TOKENS,
    ObjectPrompt,
    embed_prompt,
    parse_prompt,
    write_prompt,
)

THINGS = st.builds(ObjectPrompt, *map(st.sampled_from, (COLOURS, SHAPES, DIRECTIONS)))
ONE_OR_TWO = st.lists(THINGS, min_size=1, max_size=2, unique_by=lambda thing: thing.colour).map(tuple)


@settings(deadline=None, max_examples=50)
@given(ONE_OR_TWO)
def test_parsing_inverts_writing(things):
    assert parse_prompt(write_prompt(things)) == things


def test_the_example_is_understood():
    assert parse_prompt(EXAMPLE) == (
        ObjectPrompt("yellow", "triangle", "left"),
        ObjectPrompt("cyan", "circle", "down"),
    )


@pytest.mark.parametrize(
    "prompt",
    ["RED Circle going right.", "red circle right", "the red, circle; moves right", " red\ncircle right "],
)
def test_filler_case_and_punctuation_do_not_matter(prompt):
    assert parse_prompt(prompt) == (ObjectPrompt("red", "circle", "right"),)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "got 0 such words"),
        ("a moving the", "got 0 such words"),
        ("a red circle", "got 2 such words"),
        ("a red circle moving right and a blue square", "got 5 such words"),
        (" and ".join(f"a {colour} circle moving up" for colour in COLOURS[:3]), "got 9 such words"),
        ("a circle red moving right", "expected colour, shape, direction in this order"),
        ("a red circle moving up and a red square moving left", "both objects"),
        ("a red circel moving up", r"did you mean 'circle'\?\); use colours: red"),
        ("a red xyzzy moving up", "does not know the word 'xyzzy'; use colours: red"),
    ],
)
def test_refusals_say_why(prompt, message):
    with pytest.raises(DummyForcingError, match=message) as refusal:
        parse_prompt(prompt)
    assert "\n" not in str(refusal.value)


@settings(deadline=None, max_examples=50)
@given(ONE_OR_TWO)
def test_embedding_has_one_token_per_content_word(things):
    embedding = embed_prompt(write_prompt(things))
    assert embedding.shape == (1, TEXT_TOKENS, TEXT_DIM) and embedding.dtype == torch.float32
    assert embedding.unique().tolist() == [0, 1]
    # word, slot and "real token"; padding is all zero
    assert embedding[0].sum(1).tolist() == [3.0] * (3 * len(things)) + [0.0] * (TEXT_TOKENS - 3 * len(things))


def test_different_prompts_have_different_embeddings():
    things = [ObjectPrompt(*words) for words in itertools.product(COLOURS[:2], SHAPES, DIRECTIONS)]
    prompts = [(thing,) for thing in things]
    prompts += [pair for pair in itertools.permutations(things, 2) if pair[0].colour != pair[1].colour]
    codes = {tuple(embed_prompt(write_prompt(prompt)).flatten().tolist()) for prompt in prompts}
    assert len(codes) == len(prompts)


def test_filler_leaves_no_trace():
    assert torch.equal(embed_prompt("a red circle moving right"), embed_prompt("red circle right"))
