"""Dense attention, every query over every key, through the fastest library present; and plans in dense calls.

`attend_grouped` makes one dense call for each set of heads, and of query blocks, that read the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_plan import BlockPlan
from .dispatch import Dispatcher, Implementation, bucket
from .heads import head_index
from .libraries import library
from .plan import Ranges, ReadPlan, joined

DenseAttention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q [B, Lq, H, D], k and v [B, Lk, H, D] -> [B, Lq, H, D]: every query reads every key."""

Piece = tuple[Sequence[int], slice, Ranges]
"""Heads, queries, and what these read."""


def attend_densely(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The fastest dense attention present, in the layout of `DenseAttention`; on a CPU torch's own."""
    batch, queries, heads, dim = q.shape
    kind = (q.dtype, batch, heads, dim, bucket(queries), bucket(k.shape[1]))
    return DENSE(kind, q.device, q, k, v)


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def _sdpa_through(name: str) -> DenseAttention:
    """torch's attention held to one of its back ends."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention = library("torch.nn.attention")
        with attention.sdpa_kernel([getattr(attention.SDPBackend, name)]):
            return _sdpa(q, k, v)

    return run


def _flash(module: str) -> DenseAttention:
    """flash-attn's function, whose layout is ours; some versions return the log-sum-exp as well."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = library(module).flash_attn_func(q, k, v)
        return out[0] if isinstance(out, tuple) else out

    return run


def _sage(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return library("sageattention").sageattn(q, k, v, tensor_layout="NHD", is_causal=False)


def fits_flash(q: Tensor, *capability: int) -> bool:
    """Half precision, a head that flash attention takes, on CUDA of one of these major versions."""
    half = q.dtype in (torch.float16, torch.bfloat16)
    if not (q.is_cuda and half and q.shape[-1] <= 256 and q.shape[-1] % 8 == 0) or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(q.device)[0] in capability


def _ampere(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return fits_flash(q, 8, 9, 10, 11, 12)


def _hopper(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return fits_flash(q, 9)


def _cuda(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return q.is_cuda


def _never(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return False


_HALF = "CUDA of compute capability 8.0 or newer, bf16 or fp16, head_dim up to 256"

DENSE = Dispatcher(
    "dense attention",
    [
        Implementation("sdpa", _sdpa, "nothing but torch"),
        Implementation("flash3", _flash("flash_attn_interface"), "flash-attn 3 and a Hopper GPU, bf16 or fp16",
                       _hopper, library="flash_attn_interface"),
        Implementation("flash2", _flash("flash_attn"), f"flash-attn 2, {_HALF}", _ampere, library="flash_attn"),
        Implementation("cudnn", _sdpa_through("CUDNN_ATTENTION"), f"cuDNN, {_HALF}", _ampere,
                       library="torch.nn.attention"),
        Implementation("flash_sdpa", _sdpa_through("FLASH_ATTENTION"), _HALF, _ampere,
                       library="torch.nn.attention"),
        Implementation("efficient", _sdpa_through("EFFICIENT_ATTENTION"), "CUDA", _cuda,
                       library="torch.nn.attention"),
        # It quantises q and k, which changes the result, so it runs only when asked for by name.
        Implementation("sage", _sage, f"sageattention, {_HALF}", _ampere, _never, library="sageattention"),
    ],
)  # fmt: skip


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> Tensor:
    """Attention by dense calls; keys of one range are viewed, those of several are copied together."""
    pieces = list(_pieces(plan, q.shape[1], k.shape[1]))
    if len(pieces) == 1:
        return _read(q, k, v, _bias(plan, slice(None)), pieces[0][2], dense)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    for heads, queries, ranges in pieces:
        index = head_index(tuple(heads), q.device)
        asking = q[:, queries, index]
        out[:, queries, index] = _read(asking, k[:, :, index], v[:, :, index], _bias(plan, index), ranges, dense)
    return out


def fits_grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> bool:
    """Not for query blocks on a device: the host would have to wait for the device to read them."""
    return isinstance(plan, ReadPlan) or plan.ranges.device.type == "cpu"


def _read(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, ranges: Ranges, dense: DenseAttention) -> Tensor:
    if not ranges:
        return torch.zeros_like(q)
    keys, values = _take(k, ranges, 1), _take(v, ranges, 1)
    return dense(q, keys, values) if bias is None else _biased(q, keys, values, _take(bias, ranges, 1))


def _take(tensor: Tensor, ranges: Ranges, dim: int) -> Tensor:
    parts = [tensor.narrow(dim, start, end - start) for start, end in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """torch's attention with a bias [H, Lk]; a `DenseAttention` takes none."""
    mask = bias.to(q.dtype)[None, :, None].expand(q.shape[0], -1, q.shape[1], -1)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    return out.masked_fill((bias == float("-inf")).all(dim=1)[None, None, :, None], 0.0)


def _bias(plan: ReadPlan | BlockPlan, heads: slice | Tensor) -> Tensor | None:
    return None if plan.bias is None else plan.bias[heads]


def _pieces(plan: ReadPlan | BlockPlan, queries: int, keys: int) -> Iterator[Piece]:
    if isinstance(plan, ReadPlan):
        return ((heads, slice(0, queries), ranges) for ranges, heads in plan.groups.items())
    return _block_pieces(plan, queries, keys)


def _block_pieces(plan: BlockPlan, queries: int, keys: int) -> Iterator[Piece]:
    """Heads of a block with the same ranges together; consecutive blocks with the same groups together."""
    offsets, ranges = plan.offsets.tolist(), plan.ranges.tolist()

    def groups_of(block: int) -> dict[Ranges, list[int]]:
        groups: dict[Ranges, list[int]] = {}
        for head in range(plan.heads):
            row = head * plan.query_blocks + block
            pairs = ((start, min(end, keys)) for start, end in ranges[offsets[row] : offsets[row + 1]])
            found = joined(tuple(sorted(pair for pair in pairs if pair[0] < pair[1])))
            groups.setdefault(found, []).append(head)
        return groups

    begin, groups = 0, groups_of(0)
    for block in range(1, plan.query_blocks + 1):
        following = groups_of(block) if block < plan.query_blocks else None
        if following != groups:
            rows = slice(begin * plan.block_q, min(block * plan.block_q, queries))
            for found, heads in groups.items():
                yield heads, rows, found
            begin, groups = block, following
