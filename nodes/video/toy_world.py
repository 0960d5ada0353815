"""The node Toy World: what stands in for a text encoder and a VAE when no model has been downloaded."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ...core.errors import DummyForcingError
from ...core.world import toy
from ...core.world.vocabulary import COLOURS, DIRECTIONS, EXAMPLE, SHAPES, embed_prompt
from ..schema import node_schema

_LANGUAGE = (
    f"One or two objects, each a colour ({', '.join(COLOURS)}), a shape ({', '.join(SHAPES)}) "
    f"and a direction ({', '.join(DIRECTIONS)})."
)


class ToyWorld(io.ComfyNode):
    """Prompt and VAE of the built-in model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingToyWorld",
            display_name="Toy World",
            description=(
                "Prompt and VAE for the model 'toy world (built in)' of Load AR Video Model: a complete workflow "
                "that runs on any CPU and downloads nothing. With a real model, use CLIP Text Encode and Load VAE."
            ),
            search_aliases=["toy", "demo", "example", "self test", "no download", "text encode", "vae"],
            inputs=[
                io.String.Input(
                    "prompt",
                    default=EXAMPLE,
                    multiline=True,
                    tooltip=f"{_LANGUAGE} For example: {EXAMPLE}.",
                )
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The prompt, for this model only."),
                io.Vae.Output(display_name="vae", tooltip="The VAE, for this model only."),
                io.Clip.Output(display_name="clip", tooltip="Encodes further prompts, for this model only."),
            ],
        )

    @classmethod
    def execute(cls, prompt: str) -> io.NodeOutput:
        return io.NodeOutput([[embed_prompt(prompt), {}]], load_vae(), ToyCLIP())


class ToyCLIP:
    """The methods of a CLIP that ComfyUI's text nodes call; the toy world's vocabulary needs no model."""

    def tokenize(self, text: str, **options) -> str:
        """The text itself."""
        return text

    def encode_from_tokens_scheduled(self, tokens: str, **options) -> list:
        """A conditioning; raises DummyForcingError for words that the toy world does not know."""
        return [[embed_prompt(tokens), {}]]


def load_vae():
    """The toy world's VAE as ComfyUI's own `VAE` object.

    Raises:
        DummyForcingError: the weights are not part of this installation.
    """
    import comfy.sd
    import comfy.utils

    path = str(toy_file(toy.VAE_FILE))
    state, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (path, metadata, None))
    return vae


def toy_file(name: str) -> Path:
    """One of the toy world's files. Raises DummyForcingError if this installation lacks it."""
    path = toy.WEIGHTS / name
    if not path.is_file():
        raise DummyForcingError(f"the toy world's weights are missing: there is no {path}; install the pack again")
    return path
