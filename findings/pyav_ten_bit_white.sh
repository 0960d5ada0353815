#!/usr/bin/env bash
# White of a 10-bit video is not white in PyAV's rgb24.
#
# Library:   PyAV 18.1.0 (its wheel's FFmpeg), Python 3.10 or newer.
# Input:     one flat frame of yuv420p10le in the usual limited range: luma 940 is white, 504 is grey 128 of 255, and both
#            chroma planes are 512, so that there is no colour. Kept without loss in FFV1.
# Guess:     frame.to_ndarray(format="rgb24") gives 255 for white and 128 for the grey, as it does for the same
#            frame in 8 bits or in yuv444p10le.
# Seen:      253 and 126. The default conversion takes a fast path for subsampled 10-bit frames. With
#            interpolation="BILINEAR" and the flags ACCURATE_RND and FULL_CHR_H_INT it gives 255 and 128.
# Why it matters: phones and cameras write 10 bits, and rgb24 is how nearly every reader of training data, of metrics
#            and of image-to-video input asks for frames. All of them get such videos two levels too dark, which alone
#            limits PSNR against the true picture to about 42 dB.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import av
import numpy as np
from av.video.reformatter import Interpolation

EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def write(pixels, luma, chroma, deep):
    frame = av.VideoFrame(64, 64, pixels)
    kind = np.uint16 if deep else np.uint8
    for plane, level in zip(frame.planes, (luma, chroma, chroma), strict=True):
        row = plane.line_size // np.dtype(kind).itemsize
        plane.update(np.full((plane.height, row), level, kind).tobytes())
    with av.open("flat.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1  # limited, BT.709
        frame.color_range, frame.colorspace, frame.pts = 1, 1, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read(**options):
    with av.open("flat.mkv") as container:
        frame = next(container.decode(video=0))
        return int(frame.reformat(format="rgb24", **options).to_ndarray()[32, 32, 1])


print("PyAV", av.__version__)
seen = {}
for pixels, scale in (("yuv420p", 1), ("yuv444p10le", 4), ("yuv420p10le", 4)):
    levels = []
    for luma in (235 * scale, 126 * scale):
        write(pixels, luma, 128 * scale, scale > 1)
        levels += [read(), read(interpolation=EXACT)]
    seen[pixels] = levels
    print(f"{pixels}: white {levels[0]}, exactly {levels[1]}; grey {levels[2]}, exactly {levels[3]}")
assert seen["yuv420p"] == seen["yuv444p10le"] == [255, 255, 128, 128], "8 bits or 4:4:4 have changed"
assert seen["yuv420p10le"] == [253, 255, 126, 128], "the finding no longer holds"
PYTHON
