import io

import numpy as np
import torch
from frame_packs import unpack
from hypothesis import given
from hypothesis import strategies as st
from numbered_frames import numbered, read_number
from PIL import Image

from dummy_forcing.core.media.frame_pack import encode_jpegs, pack


@given(st.lists(st.binary(max_size=50)))
def test_a_pack_gives_its_files_back(files):
    assert unpack(pack(files)) == files


def test_jpegs_are_the_frames_in_order():
    files = encode_jpegs(numbered(65_000, 12))
    assert [read_number(np.asarray(Image.open(io.BytesIO(file)))) for file in files] == list(range(65_000, 65_012))


def test_floats_and_bytes_give_one_picture():
    frames = torch.rand(2, 16, 32, 3, generator=torch.Generator().manual_seed(0))
    (one, two), (same, _) = encode_jpegs(frames), encode_jpegs((frames * 255).round().to(torch.uint8))
    assert one == same != two
    seen = torch.from_numpy(
        np.asarray(Image.open(io.BytesIO(encode_jpegs(frames[:1].mean(2, True).expand(-1, -1, 32, 3))[0]))).copy()
    )
    expected = frames[0].mean(1, True).expand(16, 32, 3)
    assert (seen / 255 - expected).abs().mean() < 0.1
