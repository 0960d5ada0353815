"""Checkpoints in the layouts in which their authors published them, with small random weights.

Names, containers, types of files and LoRA modules are the documented ones (docs/references.md, "Published files"
and "LongLive's LoRA"); only the sizes are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

State = dict[str, Tensor]

# One head of 128, as every released model counts them; ComfyUI can tell no other from a .pt file.
SHAPE = WanShape(dim=128, heads=1, layers=2, ffn_dim=64, text_dim=32)
CAUSAL = {"config": json.dumps({"transformer": {"causal_ar": True, "text_dim": SHAPE.text_dim}})}
_RANK = 4
_BLOCK_LAYERS = (
    *(f"{attention}.{part}" for attention in ("self_attn", "cross_attn") for part in "qkvo"),
    "ffn.0",
    "ffn.2",
)
_RAVEN_LAYERS = (
    *(f"{embedding}.{layer}" for embedding in ("text_embedding", "time_embedding") for layer in (0, 2)),
    "time_projection.1",
    "head.head",
)


def backbone_state(seed: int = 0) -> State:
    """Random weights by bare names, fp32."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = CausalWan(SHAPE).state_dict()
        return {name: value + 0.02 * torch.randn_like(value) for name, value in state.items()}


def lora_state(state: Mapping[str, Tensor], extra: tuple[str, ...] = (), rank: int = _RANK) -> State:
    """A and B of all linear layers of all blocks and of `extra`, by bare names."""
    made = torch.Generator().manual_seed(1)
    modules = [f"blocks.{layer}.{part}" for layer in range(SHAPE.layers) for part in _BLOCK_LAYERS] + list(extra)
    found = {}
    for module in modules:
        rows, columns = state[f"{module}.weight"].shape
        found[f"{module}.lora_A.weight"] = 0.1 * torch.randn(rank, columns, generator=made)
        found[f"{module}.lora_B.weight"] = 0.1 * torch.randn(rows, rank, generator=made)
    return found


def raven_lora(state: Mapping[str, Tensor]) -> State:
    """RAVEN's LoRA also changes the embeddings and the head."""
    return lora_state(state, _RAVEN_LAYERS)


def merged(state: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> State:
    """W + B A, since rank and alpha are the same in all of these LoRAs."""
    found = dict(state)
    for name in lora:
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            found[f"{module}.weight"] = state[f"{module}.weight"] + lora[f"{module}.lora_B.weight"] @ lora[name]
    return found


def prefixed(state: Mapping[str, Tensor], prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def fsdp(state: Mapping[str, Tensor]) -> State:
    """As the framewise Causal Forcing files have it."""
    return prefixed(state, "model._fsdp_wrapped_module.")


def peft(state: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> State:
    """A whole model with LoRAs as PEFT saves it."""
    modules = {name.removesuffix(".lora_A.weight") for name in lora if name.endswith(".lora_A.weight")}
    found = {}
    for name, value in state.items():
        module, _, kind = name.rpartition(".")
        found[f"{module}.base_layer.{kind}" if module in modules else name] = value
    found |= {re.sub(r"\.lora_([AB])\.", r".lora_\1.default.", name): value for name, value in lora.items()}
    return prefixed(found, "base_model.model.")


def rcm(state: Mapping[str, Tensor]) -> State:
    """NVIDIA's: a linear patch embedding, and counters beside the weights."""
    flat = state | {"patch_embedding.weight": state["patch_embedding.weight"].flatten(1)}
    counters = {f"net.accum_{name}": torch.tensor(7) for name in ("iteration", "image_sample_counter")}
    return prefixed(flat, "net.") | counters | {"net.accum_train_in_hours": torch.tensor(0.5)}


def diffusers(state: Mapping[str, Tensor]) -> State:
    """Named as diffusers' WanTransformer3DModel names them; the direction of its conversion script."""
    rules = {
        "time_embedding.0": "condition_embedder.time_embedder.linear_1",
        "time_embedding.2": "condition_embedder.time_embedder.linear_2",
        "text_embedding.0": "condition_embedder.text_embedder.linear_1",
        "text_embedding.2": "condition_embedder.text_embedder.linear_2",
        "time_projection.1": "condition_embedder.time_proj",
        "head.modulation": "scale_shift_table",
        "head.head": "proj_out",
        "modulation": "scale_shift_table",
        "ffn.0": "ffn.net.0.proj",
        "ffn.2": "ffn.net.2",
        "norm3": "norm2",
        "self_attn.o.": "attn1.to_out.0.",
        "cross_attn.o.": "attn2.to_out.0.",
        "self_attn.norm": "attn1.norm",
        "cross_attn.norm": "attn2.norm",
        "self_attn.": "attn1.to_",
        "cross_attn.": "attn2.to_",
    }
    found = {}
    for name, value in state.items():
        renamed = name
        for ours, theirs in rules.items():
            renamed = renamed.replace(ours, theirs)
        found[renamed] = value
    return found


@dataclass(frozen=True)
class Published:
    """A checkpoint as published.

    file: below the models' folder. stored: what is in it, from bare weights; several safetensors files for shards.
    lora: file and content of the LoRA that is applied, if there is one. expected: the weights that it means.
    """

    family: str
    file: str
    stored: Callable[[State], object]
    lora: tuple[str, Callable[[State], object]] | None = None
    expected: Callable[[State], State] = dict
    metadata: Mapping[str, str] | None = None
    shards: int = 1

    def save(self, folder: Path, loras: Path, state: State) -> tuple[Path, Path | None]:
        """Write the files; returns the path to load (any one shard) and that of the LoRA."""
        path = _save(self.stored(state), folder / self.file, self.metadata, self.shards)
        return path, None if self.lora is None else _save(self.lora[1](state), loras / self.lora[0])


def _save(stored, path: Path, metadata: Mapping[str, str] | None = None, shards: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".safetensors":
        torch.save(stored, path)
        return path
    if shards == 1:
        save_file(stored, path, dict(metadata) if metadata else None)
        return path
    names, files = sorted(stored), []
    weight_map = {}
    for index in range(shards):
        files.append(path.with_name(f"{path.stem}-{index + 1:05}-of-{shards:05}.safetensors"))
        part = {name: stored[name] for name in names[index::shards]}
        save_file(part, files[-1])
        weight_map |= dict.fromkeys(part, files[-1].name)
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return files[1]


_LONGLIVE_LORA = ("lora.pt", lambda state: {"generator_lora": prefixed(lora_state(state), "base_model.model.")})

PUBLISHED = (
    Published("self-forcing", "self_forcing_dmd.pt", lambda s: {"generator_ema": prefixed(s, "model.")}),
    Published("self-forcing", "self_forcing_sid.pt", lambda s: {"generator_ema": prefixed(s, "model."), "step": 1}),
    Published(
        "self-forcing", "SFWan2.1-T2V-1.3B-Diffusers/transformer/diffusion_pytorch_model.safetensors", diffusers
    ),
    Published(
        "causal-forcing",
        "chunkwise/causal_forcing.pt",
        lambda s: {"generator": prefixed(s, "model."), "critic": {}},
    ),
    Published("causal-forcing-framewise", "framewise/causal_forcing.pt", lambda s: {"generator_ema": fsdp(s)}),
    Published("causal-forcing-framewise", "causal_forcing-framewise.safetensors", dict, metadata=CAUSAL),
    Published("causal-forcing-2step", "causal-forcing++/framewise-2step.pt", lambda s: {"generator_ema": fsdp(s)}),
    Published("causal-forcing-1step", "causal-forcing++/framewise-1step.pt", lambda s: {"generator_ema": fsdp(s)}),
    Published("causal-forcing-longvideo", "chunkwise/longvideo.pt", lambda s: {"generator_ema": fsdp(s)}),
    Published(
        "longlive",
        "longlive_base.pt",
        lambda s: {"generator": prefixed(s, "model.")},
        lora=_LONGLIVE_LORA,
        expected=lambda s: merged(s, lora_state(s)),
    ),
    Published(
        "causvid", "CausVid/autoregressive_checkpoint/model.pt", lambda s: {"generator": prefixed(s, "model.")}
    ),
    Published(
        "causvid-4step",
        "CausVid/autoregressive_checkpoint_warp_4step_cfg2/model.pt",
        lambda s: {"generator": prefixed(s, "model.")},
    ),
    Published("raven", "raven_model.pt", dict),
    Published("raven", "cmgrpo_raven_merge.pt", dict),
    Published(
        "raven",
        "cmgrpo_raven_full.pt",
        lambda s: peft(s, raven_lora(s)),
        expected=lambda s: merged(s, raven_lora(s)),
    ),
    Published(
        "raven",
        "raven_model.pt",
        dict,
        lora=("cmgrpo_raven_lora.safetensors", lambda s: prefixed(raven_lora(s), "base_model.model.")),
        expected=lambda s: merged(s, raven_lora(s)),
    ),
    Published("reward-forcing", "rewardforcing.pt", lambda s: {"generator_ema": prefixed(s, "model.")}),
    Published("infinity-rope", "Infinite-Forcing/ema_model.pt", lambda s: {"generator_ema": prefixed(s, "model.")}),
    Published("krea-realtime-14b", "krea-realtime-video-14b.safetensors", lambda s: prefixed(s, "model.")),
    Published(
        "krea-realtime-14b",
        "krea-realtime-video/transformer/diffusion_pytorch_model.safetensors",
        diffusers,
        shards=3,
    ),
    Published(
        "rolling-forcing",
        "rolling_forcing_dmd.pt",
        lambda s: {
            "generator": prefixed(backbone_state(5), "model."),
            "critic": {"model.x": torch.ones(1)},
            "generator_ema": fsdp(s),
        },
    ),
    Published("causal-rcm", "Causal_rCM_Wan2.1_T2V_1.3B_480p_sfdmd_c3-3.pt", rcm),
    Published("causal-rcm-framewise", "Causal_rCM_Wan2.1_T2V_1.3B_480p_sfdmd_c1-1.pt", rcm),
    Published(
        "self-gradient-forcing",
        "Self_Gradient_Forcing/chunkwise/ar/model.pt",
        lambda s: {"generator_ema": prefixed(s, "model.")},
    ),
    Published(
        "self-gradient-forcing-framewise",
        "Self_Gradient_Forcing/framewise/ar/model.pt",
        lambda s: {"generator_ema": prefixed(s, "model.")},
    ),
)


def name_of(published: Published) -> str:
    """For the names of tests."""
    return published.file + (f" + {published.lora[0]}" if published.lora else "")
