"""Groups of merged tokens, within a budget: those of the newest frame, which may grow, and settled ones.

Every token of the newest frame is the newest member of its group, so this frame is always stored whole, with its
own keys. A group that the next frame does not continue is settled: nothing is ever added to it. How many groups
settle depends on how much changes in a head, so heads hold different numbers of groups; all of this happens on the
device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...wan.rope import move_in_time
from .correspondence import NONE, Correspondence


class MergedTokens:
    """Keys, values and sizes of groups.

    A group has one token in each of several consecutive frames. So its newest frame and its size say which frames
    these are, and how many of them are still inside a window.
    """

    def __init__(
        self, k: Tensor, v: Tensor, bias: Tensor, frame_tokens: int, matching: Correspondence, averages: bool
    ):
        """Work in the tensors of a store.

        Args:
            k, v: [B, n + room, H, D]: `frame_tokens` n places for the newest frame, then settled groups.
            bias: fp32 [H, n + room], set to the logarithm of a group's size; -inf where there is none.
            matching: says which token of the frame before each token continues.
            averages: whether a group's value is the mean over all members instead of the newest member's value.
        """
        self._k, self._v, self._bias = k, v, bias
        self._n, self._room = frame_tokens, k.shape[1] - frame_tokens
        self._matching, self._averages = matching, averages
        self._count = torch.zeros(bias.shape, dtype=torch.int32, device=bias.device)
        self._newest = torch.zeros_like(self._count)
        newest = k[:, :frame_tokens]
        # of the newest frame's groups; fp32, since half precision loses one member's share among hundreds
        self._mean = torch.zeros(newest.shape if averages else 0, dtype=torch.float32, device=k.device)
        self._features = torch.zeros_like(newest, memory_format=torch.contiguous_format)
        self._frame: int | None = None
        bias.fill_(float("-inf"))

    @property
    def bytes(self) -> int:
        """Bytes in addition to the store's tensors."""
        own = (self._count, self._newest, self._mean, self._features)
        return sum(tensor.numel() * tensor.element_size() for tensor in own)

    @property
    def used(self) -> Tensor:
        """int32 [2, H]: places up to the last one used, and groups held."""
        place = torch.arange(1, self._n + self._room + 1, dtype=torch.int32, device=self._count.device)
        held = self._count > 0
        return torch.stack([torch.where(held, place, 0).amax(1), held.sum(1, dtype=torch.int32)])

    def take(self, frame: int, k: Tensor, v: Tensor) -> None:
        """Take the next frame's roped keys and values [B, n, H, D]: each token continues a group or begins one."""
        n, features = self._n, self._matching.features(k, frame)
        count = self._count[:, :n]
        if self._frame == frame - 1:
            source = self._matching.match(features, self._features)
        else:
            source = torch.full(count.shape, NONE, device=count.device)
        goes_on, source = source != NONE, source.clamp(min=0)
        continued = torch.zeros_like(count).scatter_add_(1, source, goes_on.to(count.dtype))
        self._settle(torch.where(continued > 0, 0, count))
        grown = torch.where(goes_on, count.gather(1, source), 0) + 1
        self._features.copy_(features)
        self._k[:, :n], self._v[:, :n] = k, self._average(v, source, grown) if self._averages else v
        self._count[:, :n], self._newest[:, :n] = grown, frame
        self._frame = frame

    def _average(self, v: Tensor, source: Tensor, grown: Tensor) -> Tensor:
        """Update the means of the groups that the values join; `grown` is each group's new number of members."""
        mean = self._mean.gather(1, _everywhere(source, self._mean))
        self._mean.copy_(mean.lerp(v.float(), 1 / grown.t()[None, :, :, None]))
        return self._mean.to(v.dtype)

    def forget_before(self, frame: int) -> None:
        """Remove members in frames before this one from their groups; the groups' values do not change."""
        left = self._newest - (frame - 1)
        self._count.copy_(self._count.minimum(left).clamp(min=0))

    def forget_from(self, frame: int) -> None:
        """Remove members in this frame and later ones from their groups; the next frame then begins new groups.

        The exact key of a group's newest remaining member is lost. The group's key, turned back in time to that
        member's frame, stands in for it; it is as close as the similarity asked for. The group's value does not
        change.
        """
        left_over = (self._newest - (frame - 1)).clamp(min=0)
        self._k.copy_(move_in_time(self._k, -left_over.t()[None]))
        self._count.sub_(left_over).clamp_(min=0)
        self._newest.sub_(left_over)
        self._frame = None

    def publish(self) -> None:
        """Bring the store's bias up to date."""
        self._bias.copy_(self._count.log())

    def adopt(self, other: MergedTokens, heads: list[int]) -> None:
        """Take over groups of some of another object's heads; where room is short, the ones evicted last."""
        n = self._n
        if self._averages:
            self._mean.copy_(other._mean[:, :, heads])
        self._features.copy_(other._features[:, :, heads])
        self._frame = other._frame
        count, newest = other._count[heads], other._newest[heads]
        best = _worth(count[:, n:], newest[:, n:]).topk(min(self._room, other._room)).indices + n
        chosen = torch.cat([torch.arange(n, device=best.device).expand(len(heads), n), best], dim=1)
        places = slice(0, chosen.shape[1])
        for ours, theirs in ((self._k, other._k), (self._v, other._v)):
            theirs = theirs[:, :, heads]
            ours[:, places] = theirs.gather(1, _everywhere(chosen, theirs))
        self._count[:, places] = count.gather(1, chosen)
        self._newest[:, places] = newest.gather(1, chosen)

    def _settle(self, leaving: Tensor) -> None:
        """Move groups of the newest frame to settled places. leaving: int32 [H, n], members of each group that
        moves, else 0.

        Free places are filled in order; after that a group replaces one that is worth less than itself.
        """
        n, most = self._n, min(self._n, self._room)
        if not most:
            return
        count, newest = self._count[:, n:], self._newest[:, n:]
        free = torch.arange(-self._room, 0, device=count.device)  # below any group's worth, and in order
        worth = torch.where(count > 0, _worth(count, newest), free)
        coming = torch.where(leaving > 0, _worth(leaving, self._newest[:, :n]), -self._room - 1)
        least, best = worth.topk(most, largest=False), coming.topk(most)
        replaces, into, origin = best.values > least.values, least.indices, best.indices
        for tensor in (self._k, self._v):
            settled, mask = tensor[:, n:], replaces.t()[None, :, :, None]
            old = settled.gather(1, _everywhere(into, settled))
            new = tensor[:, :n].gather(1, _everywhere(origin, tensor))
            settled.scatter_(1, _everywhere(into, settled), torch.where(mask, new, old))
        for own, of_newest in ((count, leaving), (newest, self._newest[:, :n])):
            own.scatter_(1, into, torch.where(replaces, of_newest.gather(1, origin), own.gather(1, into)))


def _worth(count: Tensor, newest: Tensor) -> Tensor:
    """The order of eviction, least first: by number of members, then by newest frame. One int64 holds both."""
    return (count.long() << 32) + newest


def _everywhere(index: Tensor, like: Tensor) -> Tensor:
    """An index of tokens [H, m] for all items and channels of a tensor [B, tokens, H, D]."""
    return index.t()[None, :, :, None].expand(like.shape[0], -1, -1, like.shape[3])
