"""Finds the coloured objects of a toy-world video: soft masks, centroids and colours, with nothing learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .render import PALETTE

COLOUR_REACH = 0.3
"""RGB distance at which a colour stops counting as a palette colour; palette colours are at least 0.47 apart."""

VISIBLE_AREA = (12.0, 1100.0)
"""Area in pixels within which a mask counts as an object; objects of the world have 250 to 710 in full view."""

# RGB, because edges and blur mix linearly in RGB: a pixel at an edge lies on the straight line from background to
# palette colour, so its opacity and its hue error separate exactly.
_DARK = torch.tensor([0.11, 0.10, 0.14])  # mid-tone background; its real spread moves an edge by under 0.1 px
_OPACITY = (0.3, 0.7)  # ramp centred on half cover, where the true edge is; faint ghosts stay below it
_HUE_ERROR = (0.2, COLOUR_REACH)  # ramp, in RGB distance at full opacity
_TOUCH = 5.0  # pixels of contact up to which an object counts as clear: a triangle's tip may leave the picture


@dataclass(frozen=True)
class Detections:
    """Where O palette colours are in F frames.

    mask [O, F, H, W] in [0, 1]; area, x, y [O, F] in pixels; colour [O, F, 3] mean RGB of the object's inside;
    visible, at_border (cut off by the picture) and touching (another of the O objects) [O, F] bool. x, y and colour
    mean nothing where not visible.
    """

    mask: Tensor
    area: Tensor
    x: Tensor
    y: Tensor
    colour: Tensor
    visible: Tensor
    at_border: Tensor
    touching: Tensor

    @property
    def clear(self) -> Tensor:
        """[O, F] bool: in full view."""
        return self.visible & ~self.at_border & ~self.touching


def detect(frames: Tensor, colours: list[int]) -> tuple[Detections, float]:
    """Find the objects of the given palette colours.

    Args:
        frames: [F, H, W, 3] fp32 in [0, 1].
        colours: indices into `PALETTE`.

    Returns:
        Detections, in the order of `colours`, and the share of pixels that show any other palette colour.
    """
    smooth = _smooth(frames)
    palette = colour_masks(smooth)
    mask = palette[colours]
    area, x, y = moments(mask)
    found = Detections(
        mask=mask,
        area=area,
        x=x,
        y=y,
        colour=_inside_colour(smooth, mask),
        visible=(area > VISIBLE_AREA[0]) & (area < VISIBLE_AREA[1]),
        at_border=_border_contact(mask) > _TOUCH,
        touching=_contact(mask) > _TOUCH,
    )
    return found, _intruders(palette, colours)


def colour_masks(frames: Tensor) -> Tensor:
    """How surely each pixel shows each palette colour: [F, H, W, 3] -> [colours, F, H, W] in [0, 1].

    A pixel belongs to at most one colour, the one nearest in hue; a pixel half way to the background gets 1/2.
    """
    rays = PALETTE - _DARK
    lengths = rays.norm(dim=1)
    offset = (frames - _DARK).flatten(0, 2)
    along, nearest = (offset @ (rays / lengths[:, None]).T).max(dim=1)
    opacity = along / lengths[nearest]
    hue_error = (offset.square().sum(1) - along.square()).clamp(min=0).sqrt() / opacity.clamp(min=1e-3)
    sure = _ramp(opacity, *_OPACITY) * (1 - _ramp(hue_error, *_HUE_ERROR))
    masks = torch.zeros(len(PALETTE), len(offset)).scatter_(0, nearest[None], sure[None])
    return masks.unflatten(1, frames.shape[:3])


def moments(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area and centroid x, y, in pixels, of masks [..., H, W]; the centroid of an empty mask is finite but void."""
    rows, columns = mask.sum(-1), mask.sum(-2)
    area = rows.sum(-1)
    some = area.clamp(min=1e-6)
    x = columns @ (torch.arange(mask.shape[-1]) + 0.5) / some
    y = rows @ (torch.arange(mask.shape[-2]) + 0.5) / some
    return area, x, y


def _smooth(frames: Tensor) -> Tensor:
    """3x3 mean: static noise turns grey, edges stay where they are."""
    channels = frames.permute(0, 3, 1, 2)
    return F.avg_pool2d(channels, 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)


def _ramp(value: Tensor, low: float, high: float) -> Tensor:
    return ((value - low) / (high - low)).clamp(0, 1)


def _grow(mask: Tensor, pixels: int) -> Tensor:
    side = 2 * pixels + 1
    return F.max_pool2d(F.max_pool2d(mask, (side, 1), 1, (pixels, 0)), (1, side), 1, (0, pixels))


def _inside_colour(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean RGB [O, F, 3] over what is left of each mask 2 px inside its edge; of slivers, over the whole mask."""
    core = -_grow(-mask, 2)
    weight = torch.where(core.sum((-1, -2), keepdim=True) > 4, core, mask).flatten(2)
    total = torch.einsum("ofp,fpc->ofc", weight, frames.flatten(1, 2))
    return total / weight.sum(-1, keepdim=True).clamp(min=1e-6)


def _border_contact(mask: Tensor) -> Tensor:
    return torch.stack([mask[..., 0, :], mask[..., -1, :], mask[..., 0], mask[..., -1]]).sum((0, -1))


def _contact(mask: Tensor) -> Tensor:
    """Pixels [O, F] within 2 px of both an object and another one."""
    near = _grow(mask, 2)
    others = near.sum(0, keepdim=True) - near
    return torch.minimum(near, others).sum((-1, -2))


def _intruders(palette: Tensor, colours: list[int]) -> float:
    """Where two prompted objects meet, mixed pixels may look like a third colour: keep clear of them."""
    others = [index for index in range(len(palette)) if index not in colours]
    prompted = _grow(palette[colours].sum(0), 3)
    return (palette[others].sum(0) * (1 - prompted.clamp(max=1))).mean().item()
