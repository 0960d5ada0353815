"""`forward_chunk` against Wan's definition written out token by token in fp64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.wan.forward import Runtime, _unpatchify, encode_prompt, forward_chunk
from dummy_forcing.kernels import attend_densely

FRAMES, HEIGHT, WIDTH = 3, 4, 6
START = 7


class WholeChunk:
    """A memory without history."""

    def attend_prompt(self, layer, q, k, v, clock, dense):
        return dense(q, k, v)

    def attend(self, layer, q, k, v, clock, norm_rope, dense):
        q, k = norm_rope(q, k)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model(tiny_wan):
    """No parameter at its initial one or zero, so that none can be left out unnoticed."""
    scrambled = copy.deepcopy(tiny_wan)
    for index, parameter in enumerate(scrambled.parameters()):
        parameter += 0.2 * random(parameter.shape, seed=index)
    return scrambled


def forward(model, x, t, text, *, start=START, **options):
    clock = ChunkClock(0, start, x.shape[2], HEIGHT * WIDTH // 4, 0, 1.0, False)
    return forward_chunk(model, x, t, encode_prompt(model, text), WholeChunk(), clock, **options)


class Literal:
    """One chunk of one video, without history (Wan 2.1, `model.py`, with modulation per frame)."""

    def __init__(self, model):
        self.shape = model.shape
        self.w = {name: value.double() for name, value in model.state_dict().items()}

    def __call__(self, x, t, text, start):
        """x [C, F, h, w], t: one timestep for each frame, text [L, text_dim]."""
        _, frames, height, width = x.shape
        places = [(f, i, j) for f in range(frames) for i in range(height // 2) for j in range(width // 2)]
        patches = torch.stack([x[:, f, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1) for f, i, j in places])
        tokens = patches @ self.w["patch_embedding.weight"].flatten(1).T + self.w["patch_embedding.bias"]
        text = self.linear("text_embedding.2", gelu(self.linear("text_embedding.0", text)))
        times = torch.stack([self.time(t[f]) for f, _, _ in places])
        shifts = self.linear("time_projection.1", F.silu(times)).unflatten(-1, (6, -1))
        positions = [(start + f, i, j) for f, i, j in places]
        for layer in range(self.shape.layers):
            tokens = self.block(f"blocks.{layer}", tokens, shifts, text, positions)
        shift, scale = (self.w["head.modulation"] + times[:, None]).unbind(1)
        patches = self.linear("head.head", normalise(tokens) * (1 + scale) + shift)
        out = torch.empty(self.shape.out_channels, frames, height, width, dtype=torch.float64)
        for (f, i, j), patch in zip(places, patches, strict=True):
            out[:, f, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = patch.view(2, 2, -1).permute(2, 0, 1)
        return out

    def block(self, name, x, shifts, text, positions):
        m = (self.w[f"{name}.modulation"] + shifts).unbind(1)
        modulated = normalise(x) * (1 + m[1]) + m[0]
        x = x + m[2] * self.attention(f"{name}.self_attn", modulated, modulated, positions)
        affine = normalise(x) * self.w[f"{name}.norm3.weight"] + self.w[f"{name}.norm3.bias"]
        x = x + self.attention(f"{name}.cross_attn", affine, text)
        hidden = gelu(self.linear(f"{name}.ffn.0", normalise(x) * (1 + m[4]) + m[3]))
        return x + m[5] * self.linear(f"{name}.ffn.2", hidden)

    def attention(self, name, x, source, positions=None):
        q = self.rms(f"{name}.norm_q", self.linear(f"{name}.q", x))
        k = self.rms(f"{name}.norm_k", self.linear(f"{name}.k", source))
        v = self.linear(f"{name}.v", source)
        out = []
        for channels in torch.arange(self.shape.dim).chunk(self.shape.heads):
            head_q, head_k = q[:, channels], k[:, channels]
            if positions is not None:
                head_q, head_k = rotate_all(head_q, positions), rotate_all(head_k, positions)
            out.append((head_q @ head_k.T / self.shape.head_dim**0.5).softmax(-1) @ v[:, channels])
        return self.linear(f"{name}.o", torch.cat(out, dim=-1))

    def time(self, t):
        angles = [t / 10000 ** (2 * i / self.shape.freq_dim) for i in range(self.shape.freq_dim // 2)]
        wave = torch.tensor([*map(math.cos, angles), *map(math.sin, angles)], dtype=torch.float64)
        return self.linear("time_embedding.2", F.silu(self.linear("time_embedding.0", wave)))

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def rms(self, name, x):
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.w[f"{name}.weight"]


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def normalise(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()


def rotate_all(tokens, positions):
    return torch.stack([rotate(token, place) for token, place in zip(tokens, positions, strict=True)])


def rotate(x, position):
    """One head of one token; the axes share its channel pairs, time first."""
    spatial = 2 * (len(x) // 6)
    widths = (len(x) - 2 * spatial, spatial, spatial)
    angles = [p / 10000 ** (2 * i / n) for p, n in zip(position, widths, strict=True) for i in range(n // 2)]
    turned = []
    for a, b, angle in zip(x[0::2], x[1::2], angles, strict=True):
        turned += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
    return torch.stack(turned)


@pytest.mark.parametrize("times", [(1000.0, 1000.0, 1000.0), (0.0, 375.5, 937.5)], ids=["one level", "per frame"])
def test_forward_is_wans_definition(model, times):
    x, text = random(1, 4, FRAMES, HEIGHT, WIDTH), random(1, 5, 16, seed=1)
    found = forward(model, x, torch.tensor([times]), text)
    wanted = Literal(model)(x[0].double(), times, text[0].double(), START)
    torch.testing.assert_close(found[0].double(), wanted, atol=2e-4, rtol=1e-4)


def test_one_timestep_for_each_frame_equals_one_for_the_chunk(model):
    x, text = random(2, 4, FRAMES, HEIGHT, WIDTH), random(2, 5, 16, seed=1)
    t = torch.tensor([250.0, 833.3])
    per_frame = forward(model, x, t[:, None].expand(-1, FRAMES), text)
    torch.testing.assert_close(forward(model, x, t, text), per_frame, atol=1e-5, rtol=1e-5)
    assert (forward(model, x, t.flip(0), text) - per_frame).abs().max() > 1e-2


def test_items_of_a_batch_do_not_meet(model):
    x, text = random(2, 4, FRAMES, HEIGHT, WIDTH), random(2, 5, 16, seed=1)
    t = torch.tensor([250.0, 833.3])
    alone = [forward(model, x[i : i + 1], t[i : i + 1], text[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(forward(model, x, t, text), torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_without_history_only_relative_positions_count(model):
    x, text, t = random(1, 4, FRAMES, HEIGHT, WIDTH), random(1, 5, 16, seed=1), torch.tensor([500.0])
    near, far = (forward(model, x, t, text, start=start) for start in (0, 4096))
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)


def test_prompt_keys_and_values_have_one_pair_a_layer(model):
    prompt = encode_prompt(model, random(2, 5, 16))
    assert len(prompt.layers) == len(model.blocks)
    assert {x.shape for pair in prompt.layers for x in pair} == {(2, 5, 4, 12)}


def test_bare_parameters_go_through_the_cast_of_the_runtime(model):
    """The host keeps them in another dtype or on another device."""
    x, text, t = random(1, 4, FRAMES, HEIGHT, WIDTH), random(1, 5, 16, seed=1), torch.tensor([500.0])
    seen = []

    def cast(vector, like):
        seen.append(vector)
        return vector.to(like.dtype)

    stored = copy.deepcopy(model)
    for owner in (*stored.blocks, stored.head):
        owner.modulation = torch.nn.Parameter(owner.modulation.double(), requires_grad=False)
    torch.testing.assert_close(forward(stored, x, t, text, runtime=Runtime(cast=cast)), forward(model, x, t, text))
    bare = {id(owner.modulation) for owner in (*stored.blocks, stored.head)}
    assert bare <= {id(vector) for vector in seen}
    torch.testing.assert_close(forward(stored, x, t, text), forward(model, x, t, text))


def test_cross_attention_and_patch_embedding_are_the_homes(model):
    """Self-attention is the memory's business."""
    x, text, t = random(1, 4, FRAMES, HEIGHT, WIDTH), random(1, 5, 16, seed=1), torch.tensor([500.0])
    keys, embedded = [], []

    def attention(q, k, v):
        keys.append(k.shape[1])
        return attend_densely(q, k, v)

    def embed(embedding, latents):
        embedded.append(latents.shape)
        return embedding(latents)

    found = forward(model, x, t, text, runtime=Runtime(attention=attention, embed=embed))
    torch.testing.assert_close(found, forward(model, x, t, text))
    assert keys == [text.shape[1]] * len(model.blocks)
    assert embedded == [x.shape]


def test_layers_are_called_never_read(model):
    """A hook on a layer takes part: that is how LoRA and quantisation of the host keep working."""
    x, text, t = random(1, 4, FRAMES, HEIGHT, WIDTH), random(1, 5, 16, seed=1), torch.tensor([500.0])
    plain = forward(model, x, t, text)
    leaves = [m for m in model.modules() if not list(m.children()) and list(m.parameters(recurse=False))]
    for leaf in leaves:
        hook = leaf.register_forward_hook(lambda _module, _inputs, out: out * 1.5)
        try:
            assert (forward(model, x, t, text) - plain).abs().max() > 1e-6, leaf
        finally:
            hook.remove()


def test_unpatchify_inverts_the_patch_order_of_the_embedding():
    """The head writes channels innermost, [row, column, channel] (Wan 2.1, `unpatchify`)."""
    x = random(2, 4, FRAMES, HEIGHT, WIDTH)
    grid = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2))
    patches = grid.permute(0, 2, 3, 5, 4, 6, 1).reshape(2, FRAMES * HEIGHT * WIDTH // 4, -1)
    assert torch.equal(_unpatchify(patches, FRAMES, HEIGHT, WIDTH), x)


def test_bf16_is_kept_throughout(model):
    half = copy.deepcopy(model).bfloat16()
    x, text = random(1, 4, FRAMES, HEIGHT, WIDTH).bfloat16(), random(1, 5, 16, seed=1).bfloat16()
    assert forward(half, x, torch.tensor([500.0]), text).dtype == torch.bfloat16
