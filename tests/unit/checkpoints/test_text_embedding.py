"""What --embedding takes, and what it says of anything else."""

import math

import pytest
import torch

from dummy_forcing.core.checkpoints.text_embedding import load_text_embedding

EMBEDDING = torch.linspace(-1, 1, 12).reshape(3, 4)
MASK = torch.ones(3, dtype=torch.int64)


@pytest.mark.parametrize(
    "tensors",
    [
        {"anything": EMBEDDING},
        {"anything": EMBEDDING[None].contiguous()},
        {"embedding": EMBEDDING.double(), "mask": MASK},
        {"context": EMBEDDING, "noise": torch.ones(2)},
        {"prompt_embeds": EMBEDDING, "negative_prompt_embeds": -EMBEDDING},
    ],
)
def test_text_embeddings(save, tensors):
    embedding = load_text_embedding(save(tensors))
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, EMBEDDING[None])


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({"a": EMBEDDING, "b": EMBEDDING + 1}, "which of the 2"),
        ({"blocks.0.ffn.0.weight": EMBEDDING, "b": EMBEDDING + 1}, "is a Wan backbone and no text embedding"),
        ({"context": EMBEDDING, "prompt_embeds": EMBEDDING + 1}, "which of the 2"),
        ({"mask": MASK}, "which of the 0"),
        ({"a": torch.ones(4)}, "shape [4]"),
        ({"a": torch.ones(2, 3, 4)}, "shape [2, 3, 4]"),
        ({"a": torch.ones(0, 4)}, "shape [0, 4]"),
        ({"a": torch.full((3, 4), math.nan)}, "NaN"),
        ({"a": torch.tensor([[1.0, math.inf]])}, "NaN or infinite"),
        ({"a": torch.tensor([[1.0, 1e300]], dtype=torch.float64)}, "NaN or infinite"),
    ],
)
def test_bad_text_embeddings(save, refused, tensors, word):
    with refused(word):
        load_text_embedding(save(tensors))


@pytest.mark.parametrize(
    "stored",
    [
        EMBEDDING,
        torch.nn.Parameter(EMBEDDING[None]),
        [EMBEDDING],
        {"context": [EMBEDDING]},
        {"prompt_embeds": EMBEDDING, "negative_prompt_embeds": -EMBEDDING},
        [[EMBEDDING[None], {"pooled_output": None}]],
    ],
)
def test_pytorch_files(tmp_path, stored):
    """As encoders give it: alone, in a list, by a name, as ComfyUI's conditioning."""
    torch.save(stored, tmp_path / "prompt.pt")
    assert torch.equal(load_text_embedding(tmp_path / "prompt.pt"), EMBEDDING[None])


HOLDS = "an embedding file, .safetensors or .pt, holds the output of Wan's text encoder"


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (torch.ones(4), ["has the shape [4]"]),
        ({"generator": {"blocks.0.modulation": torch.ones(2, 2), "head.x": torch.ones(2)}}, ["is a Wan backbone"]),
        ([EMBEDDING, EMBEDDING], ["which of the 2"]),
        ({"prompt": "a cat"}, ["which of the 0"]),
    ],
)
def test_other_pytorch_files(tmp_path, refused, stored, words):
    torch.save(stored, tmp_path / "prompt.pt")
    with refused(*words, HOLDS):
        load_text_embedding(tmp_path / "prompt.pt")


def test_no_tensors_at_all(tmp_path, refused):
    (tmp_path / "prompt.txt").write_text("a cat on a boat")
    with refused("is a text (15 B, 'a cat on a boat')", HOLDS):
        load_text_embedding(tmp_path / "prompt.txt")
    with refused("there is no file", "check the path"):
        load_text_embedding(tmp_path / "gone.pt")
