"""Writes docs/families.md from the family table, which is data (`core/checkpoints/families/table.py`).

.venv/bin/python tools/families_table.py
"""

from __future__ import annotations

from pathlib import Path

from dummy_forcing.core.checkpoints.families.family import Family
from dummy_forcing.core.checkpoints.families.table import FAMILIES

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "families.md"

_HEAD = """# Model families

What `--family` and *Load AR Video Model* know. `auto` goes by the metadata that `dummy-forcing convert` writes, by
the file's name with its folders and by how its tensors are wrapped; where these do not tell, choose by hand.
`dummy-forcing inspect FILE` says what a file is, and why.

Any published layout opens: `.pt`, safetensors, shards (choose any one), diffusers' names, LoRAs wrapped by PEFT.
Where a `.pt` has several sets of weights, the one with a model's layers is taken, never a critic or teacher; an
average over the training (`ema` in the name) before what it averages, as the authors of Self-Forcing, Rolling
Forcing and One-Forcing run them; then the usual names (`generator`, `student`, `state_dict`, `model`, ...). The log
and `inspect` say what was taken and what was left aside. Files in plain FP8 or float64 go with every option.
Buffers of positions (`freqs`) are left out, since Wan computes them.

All families but the toy world take the Wan 2.1 VAE and umT5-XXL. Sources are on Hugging Face; a licence is that of
the published weights. This table is made by `python tools/families_table.py`.

"""

_TAIL = """
## Recognised and refused

| what | why |
|---|---|
| LongLive 2.0, Yume 1.5 and all of Wan 2.2 5B | 48 latent channels, another VAE; not causal in ComfyUI 0.27 |
| MemFlow | a memory bank that chooses frames by the prompt |
| StreamDiffusionV2 | changes a live video under a noise level and a sink that adapt |
| Helios | no causal cache: it compresses its history |
| Matrix-Game, MagicWorld, LingBot-World, minWM, DreamX-World | take actions or camera paths |
| CausalWan 2.2 A14B | two backbones and an image as input |
| image-to-video, VACE, camera, audio and animation models of Wan | other inputs than text |
| ordinary (bidirectional) Wan, intermediate stages of training | not autoregressive, or not distilled |
"""


def document() -> str:
    """The whole text of docs/families.md."""
    rows = [_row(family) for family in FAMILIES.values()]
    head = [_line("family", "how it runs", "length", "licence", "source"), "|---" * 5 + "|"]
    return _HEAD + "\n".join([*head, *rows]) + "\n" + _notes() + _TAIL


def _row(family: Family) -> str:
    return _line(
        f"**{family.title}**<br>`{family.name}`",
        family.how_it_runs,
        f"{family.latent_frames}",
        family.licence,
        _source(family),
    )


def _source(family: Family) -> str:
    lora = f"<br>needs its LoRA: {family.lora.source}" if family.lora else ""
    return family.source + lora


def _notes() -> str:
    notes = "\n".join(
        f"* {family.title}: {family.heads_note}." for family in FAMILIES.values() if family.heads_note
    )
    lengths = "Lengths are the defaults, in latent frames of four video frames each."
    return f"\n{lengths}\n\nWhere Dummy Forcing fits only partly:\n\n{notes}\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
