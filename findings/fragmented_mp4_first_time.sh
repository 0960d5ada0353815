#!/usr/bin/env bash
# The first frame of a fragmented MP4 is not at time 0.
#
# Library:   PyAV 18.1.0 (its wheel's FFmpeg and libx264), Python 3.10 or newer.
# Input:     33 frames at 16 a second, encoded with time stamps from 0 and two B-frames, once as a plain and once as a
#            fragmented MP4 (movflags frag_keyframe+empty_moov), as streaming servers and recorders write them.
# Guess:     both read back alike: the first frame at 0 s, and the frames before 1 s are the first 16.
# Seen:      the plain file begins at 0 s, the fragmented one at 0.125 s, and it has 14 frames before 1 s. The reordering
#            of B-frames needs a delay of two frames; a plain MP4 takes it back with an edit list, which a fragmented one
#            with an empty header has no room for.
# Why it matters: "the frames between 0 s and 1 s" is how clips are cut and videos compared. Cut so, one of two equal
#            videos is two frames short and two frames off. Times have to be counted from the first decoded frame.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np


def write(name, options):
    with av.open(name, "w", options=options) as container:
        stream = container.add_stream("libx264", rate=16, options={"bf": "2", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(33):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 6 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read(name):
    with av.open(name) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return len(times), times[0], sum(time < 1 for time in times)


print("PyAV", av.__version__)
seen = {}
for name, options in (("plain.mp4", {}), ("fragmented.mp4", {"movflags": "frag_keyframe+empty_moov"})):
    write(name, options)
    seen[name] = read(name)
    print("{}: {} frames, the first at {} s, {} before 1 s".format(name, *seen[name]))
assert seen["plain.mp4"] == (33, 0.0, 16), "a plain MP4 has changed"
assert seen["fragmented.mp4"] == (33, 0.125, 14), "the finding no longer holds"
PYTHON
