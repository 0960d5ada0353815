"""The Wan 2.1 VAE: original names, streaming exact for any cutting, causality."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.decoders.vae_stream import VAEState, decode_chunk, encode_chunk
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.latent_norm import denormalise, normalise
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

EXACT = {"atol": 1e-5, "rtol": 1e-5}
ORIGINAL_LAYOUT = {
    "encoder.conv1.weight": (96, 3, 3, 3, 3),
    "encoder.downsamples.0.residual.0.gamma": (96, 1, 1, 1),
    "encoder.downsamples.2.resample.1.weight": (96, 96, 3, 3),
    "encoder.downsamples.3.shortcut.weight": (192, 96, 1, 1, 1),
    "encoder.downsamples.5.time_conv.weight": (192, 192, 3, 1, 1),
    "encoder.downsamples.6.residual.2.weight": (384, 192, 3, 3, 3),
    "encoder.downsamples.8.time_conv.weight": (384, 384, 3, 1, 1),
    "encoder.downsamples.10.residual.6.bias": (384,),
    "encoder.middle.1.norm.gamma": (384, 1, 1),
    "encoder.head.2.weight": (32, 384, 3, 3, 3),
    "conv1.weight": (32, 32, 1, 1, 1),
    "conv2.bias": (16,),
    "decoder.conv1.weight": (384, 16, 3, 3, 3),
    "decoder.middle.1.to_qkv.weight": (1152, 384, 1, 1),
    "decoder.middle.1.proj.bias": (384,),
    "decoder.upsamples.3.time_conv.weight": (768, 384, 3, 1, 1),
    "decoder.upsamples.3.resample.1.weight": (192, 384, 3, 3),
    "decoder.upsamples.4.shortcut.weight": (384, 192, 1, 1, 1),
    "decoder.upsamples.7.time_conv.weight": (768, 384, 3, 1, 1),
    "decoder.upsamples.8.residual.2.weight": (192, 192, 3, 3, 3),
    "decoder.upsamples.11.resample.1.weight": (96, 192, 3, 3),
    "decoder.upsamples.14.residual.6.weight": (96, 96, 3, 3, 3),
    "decoder.head.0.gamma": (96, 1, 1, 1),
    "decoder.head.2.weight": (3, 96, 3, 3, 3),
}
EASY = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vae():
    """A random VAE, 8 wide with 4 latent channels; gains are random too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanVAE(WanVAEShape(8, 4)).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter += 0.3 * random(parameter.shape, seed=len(name))
    return model


def decode(vae, latents, sizes=None):
    state = VAEState()
    chunks = latents.split(sizes or [latents.shape[2]], dim=2)
    return torch.cat([decode_chunk(vae, chunk, state) for chunk in chunks], dim=2)


def encode(vae, pixels, sizes=None):
    state = VAEState()
    chunks = pixels.split(sizes or [pixels.shape[2]], dim=2)
    return torch.cat([encode_chunk(vae, chunk, state) for chunk in chunks], dim=2)


class Literal:
    """Whole clips through the weights alone (Wan 2.1, `vae.py`), nothing remembered and nothing cut."""

    def __init__(self, vae):
        self.w = dict(vae.state_dict())

    def decode(self, latents):
        x = self.conv("decoder.conv1", self.conv("conv2", latents))
        x = self.run("decoder.upsamples", self.run("decoder.middle", x, stop=3), stop=15)
        return self.head("decoder.head", x)

    def encode(self, pixels):
        x = self.run("encoder.downsamples", self.conv("encoder.conv1", pixels), stop=11)
        x = self.head("encoder.head", self.run("encoder.middle", x, stop=3))
        return self.conv("conv1", x)[:, : self.w["conv1.weight"].shape[0] // 2]

    def run(self, prefix, x, *, stop):
        for name in (f"{prefix}.{index}" for index in range(stop)):
            if f"{name}.to_qkv.weight" in self.w:
                x = self.attention(name, x)
            elif f"{name}.residual.0.gamma" in self.w:
                x = self.residual(name, x)
            else:
                x = self.upsample(name, x) if "upsamples" in name else self.downsample(name, x)
        return x

    def residual(self, name, x):
        hidden = self.conv(f"{name}.residual.2", F.silu(self.norm(f"{name}.residual.0", x)))
        hidden = self.conv(f"{name}.residual.6", F.silu(self.norm(f"{name}.residual.3", hidden)))
        return hidden + (self.conv(f"{name}.shortcut", x) if f"{name}.shortcut.weight" in self.w else x)

    def upsample(self, name, x):
        if f"{name}.time_conv.weight" in self.w and x.shape[2] > 1:
            pairs = self.conv(f"{name}.time_conv", x[:, :, 1:]).chunk(2, dim=1)
            later = [pair[:, :, t] for t in range(x.shape[2] - 1) for pair in pairs]
            x = torch.stack([x[:, :, 0], *later], dim=2)
        weights = self.w[f"{name}.resample.1.weight"], self.w[f"{name}.resample.1.bias"]
        large = [frame.repeat_interleave(2, -1).repeat_interleave(2, -2) for frame in x.unbind(2)]
        return torch.stack([F.conv2d(frame, *weights, padding=1) for frame in large], dim=2)

    def downsample(self, name, x):
        weights = self.w[f"{name}.resample.1.weight"], self.w[f"{name}.resample.1.bias"]
        x = torch.stack([F.conv2d(F.pad(frame, (0, 1, 0, 1)), *weights, stride=2) for frame in x.unbind(2)], dim=2)
        if f"{name}.time_conv.weight" not in self.w or x.shape[2] == 1:
            return x
        halved = F.conv3d(x, self.w[f"{name}.time_conv.weight"], self.w[f"{name}.time_conv.bias"], stride=(2, 1, 1))
        return torch.cat([x[:, :, :1], halved], dim=2)

    def attention(self, name, x):
        frames = []
        for frame in x.unbind(2):
            qkv = self.pointwise(f"{name}.to_qkv", self.norm(f"{name}.norm", frame))
            q, k, v = qkv.flatten(2).chunk(3, dim=1)
            weights = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
            mixed = (v @ weights.transpose(1, 2)).view(frame.shape)
            frames.append(frame + self.pointwise(f"{name}.proj", mixed))
        return torch.stack(frames, dim=2)

    def pointwise(self, name, x):
        return F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def head(self, name, x):
        return self.conv(f"{name}.2", F.silu(self.norm(f"{name}.0", x)))

    def norm(self, name, x):
        root_mean_square = x.pow(2).mean(dim=1, keepdim=True).sqrt()
        return x / root_mean_square * self.w[f"{name}.gamma"]

    def conv(self, name, x):
        """All temporal padding in front."""
        weight = self.w[f"{name}.weight"]
        time, height, width = (size // 2 for size in weight.shape[2:])
        return F.conv3d(F.pad(x, (width, width, height, height, 2 * time, 0)), weight, self.w[f"{name}.bias"])


def test_the_original_layout():
    """Wan2.1_VAE.pth: 194 tensors, 126.9 M parameters."""
    with torch.device("meta"):
        state = WanVAE(WanVAEShape()).state_dict()
    assert len(state) == 194
    assert sum(tensor.numel() for tensor in state.values()) == 126_892_531
    assert {name: tuple(state[name].shape) for name in ORIGINAL_LAYOUT} == ORIGINAL_LAYOUT
    assert WanVAEShape.from_state_dict(state) == WanVAEShape(96, 16)


@pytest.mark.parametrize("shape", [WanVAEShape(8, 4), WanVAEShape(24, 16)])
def test_shape_is_read_off_the_weights(shape):
    with torch.device("meta"):
        state = WanVAE(shape).state_dict()
    assert len(state) == 194
    assert WanVAEShape.from_state_dict(state) == shape
    del state["conv2.weight"]
    with pytest.raises(DummyForcingError, match=r"not a Wan 2\.1 VAE: key 'conv2.weight' is missing"):
        WanVAEShape.from_state_dict(state)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_decode_is_the_definition(vae, frames):
    latents = random(2, 4, frames, 2, 3)
    pixels = decode(vae, latents)
    assert pixels.shape == (2, 3, 4 * frames - 3, 16, 24)
    torch.testing.assert_close(pixels, Literal(vae).decode(latents), **EXACT)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_encode_is_the_definition(vae, frames):
    pixels = random(2, 3, frames, 16, 24)
    latents = encode(vae, pixels)
    assert latents.shape == (2, 4, (frames + 3) // 4, 2, 3)
    torch.testing.assert_close(latents, Literal(vae).encode(pixels), **EXACT)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5))
@EASY
def test_decode_is_exact_for_any_cutting(vae, sizes):
    latents = random(1, 4, sum(sizes), 2, 2)
    torch.testing.assert_close(decode(vae, latents, sizes), decode(vae, latents), **EXACT)


@pytest.mark.parametrize("sizes", [[1] * 6, [2, 4], [3, 3], [5, 1], [1, 5]])
def test_streamed_decode_equals_the_whole_clip(vae, sizes):
    latents = random(1, 4, 6, 2, 2)
    state, chunks = VAEState(), []
    for chunk in latents.split(sizes, dim=2):
        assert state.started is bool(chunks)
        chunks.append(decode_chunk(vae, chunk, state))
    assert [chunk.shape[2] for chunk in chunks] == [4 * sizes[0] - 3, *(4 * size for size in sizes[1:])]
    torch.testing.assert_close(torch.cat(chunks, dim=2), decode(vae, latents), **EXACT)


@given(quarters=st.lists(st.integers(1, 3), max_size=4), first=st.integers(0, 2))
@EASY
def test_encode_is_exact_for_any_cutting(vae, quarters, first):
    sizes = [1 + 4 * first, *(4 * n for n in quarters)]
    pixels = random(1, 3, sum(sizes), 16, 16)
    torch.testing.assert_close(encode(vae, pixels, sizes), encode(vae, pixels), **EXACT)


@pytest.mark.parametrize("changed", range(1, 5))
def test_a_later_latent_never_changes_an_earlier_frame(vae, changed):
    latents = random(1, 4, 5, 2, 2)
    before = decode(vae, latents)
    latents[:, :, changed:] += 1
    after = decode(vae, latents)
    first = 4 * changed - 3
    torch.testing.assert_close(after[:, :, :first], before[:, :, :first], **EXACT)
    assert (after - before)[:, :, first:].abs().amax(dim=(0, 1, 3, 4)).min() > 0


@pytest.mark.parametrize("changed", [1, 4, 5, 9, 12])
def test_a_later_frame_never_changes_an_earlier_latent(vae, changed):
    pixels = random(1, 3, 13, 16, 16)
    before = encode(vae, pixels)
    pixels[:, :, changed:] += 1
    after = encode(vae, pixels)
    first = (changed + 3) // 4
    torch.testing.assert_close(after[:, :, :first], before[:, :, :first], **EXACT)
    assert (after - before)[:, :, first].abs().max() > 0


def test_the_state_is_small_constant_and_owned(vae):
    """A remembered view would keep whole activations alive; the state must not grow with the clip."""
    state, sizes = VAEState(), []
    for chunk in random(1, 4, 12, 2, 2).split(3, dim=2):
        decode_chunk(vae, chunk, state)
        sizes.append(state.bytes)
    assert len(set(sizes)) == 1
    owned = sum(past.untyped_storage().nbytes() for past in state._past.values())
    assert owned == state.bytes > 0
    state.clear()
    assert not state.started
    assert state.bytes == 0


def test_two_clips_may_be_streamed_in_turn(vae):
    clips = random(1, 4, 4, 2, 2), random(1, 4, 4, 2, 2, seed=1)
    states, found = (VAEState(), VAEState()), ([], [])
    for t, which in itertools.product(range(4), range(2)):
        found[which].append(decode_chunk(vae, clips[which][:, :, t : t + 1], states[which]))
    for clip, chunks in zip(clips, found, strict=True):
        torch.testing.assert_close(torch.cat(chunks, dim=2), decode(vae, clip), **EXACT)


@pytest.mark.parametrize("frames", [0, 2, 3, 4, 6, 8])
def test_a_clip_must_begin_with_one_and_four_n_frames(vae, frames):
    with pytest.raises(DummyForcingError, match=rf"1 \+ 4n frames first and 4n frames later, got {frames}"):
        encode_chunk(vae, torch.zeros(1, 3, frames, 16, 16), VAEState())


@pytest.mark.parametrize("frames", [0, 1, 5, 6])
def test_a_clip_must_go_on_with_four_n_frames(vae, frames):
    state = VAEState()
    encode_chunk(vae, torch.zeros(1, 3, 5, 16, 16), state)
    with pytest.raises(DummyForcingError, match=f"got {frames}; trim or pad the clip"):
        encode_chunk(vae, torch.zeros(1, 3, frames, 16, 16), state)


def test_bf16_is_kept(vae):
    half = WanVAE(vae.shape).bfloat16()
    assert decode(half, random(1, 4, 2, 2, 2).bfloat16(), [1, 1]).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_latent_norm_inverts_itself_and_keeps_the_dtype(dtype):
    raw = random(2, 16, 3, 2, 2).to(dtype)
    scaled = normalise(raw)
    assert scaled.dtype == denormalise(scaled).dtype == dtype
    tolerance = 0.05 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(denormalise(scaled), raw, atol=tolerance, rtol=tolerance)


def test_latent_norm_of_single_channels():
    """First and last channel of the published table."""
    scaled = normalise(torch.zeros(1, 16, 1, 1, 1)).flatten()
    assert scaled[0].item() == pytest.approx(0.7571 / 2.8184)
    assert scaled[15].item() == pytest.approx(0.2921 / 1.9160)
