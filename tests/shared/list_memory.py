"""A memory as plain as can be, to check others and loops against."""

import torch
import torch.nn.functional as F


class ListMemory:
    """Every committed frame in a list, joined anew in every pass."""

    def __init__(self):
        self.history, self.current = {}, {}

    def attend_prompt(self, layer, q, k, v, clock, dense):
        return dense(q, k, v)

    def attend(self, layer, q, k, v, clock, norm_rope, dense):
        q, k = norm_rope(q, k)
        self.current[layer] = [*self.history.get(layer, []), (k, v)]
        k, v = (torch.cat(parts, dim=1) for parts in zip(*self.current[layer], strict=True))
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)

    def commit(self):
        self.history = dict(self.current)
