#!/usr/bin/env bash
# PyAV names frame rates for a GIF that its frames do not have.
#
# Library:   PyAV 18.1.0 (its wheel's FFmpeg), Python 3.10 or newer.
# Input:     a GIF of 49 frames at 48 frames a second, as near as a GIF can: delays of 2/100 s, every twelfth of 3/100 s,
#            so that 48 frames take 1.00 s. Written by Pillow.
# Guess:     stream.average_rate is 48, frames by time; stream.guessed_rate is 48 or 50, since no frame is shown for
#            less than 2/100 s.
# Seen:      average_rate 50, guessed_rate 100. The time stamps of the decoded frames say 48.
# Why it matters: guessed_rate is what players and scripts take for "the" rate. Whoever writes such a GIF's frames to a
#            video at it plays them twice too fast; the true rate is in the time stamps alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6 pillow==12.0.0
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import av
from PIL import Image

delays = [30 if index % 12 == 11 else 20 for index in range(49)]  # milliseconds
frames = [Image.new("L", (32, 32), 5 * index) for index in range(49)]
frames[0].save("forty_eight.gif", save_all=True, append_images=frames[1:], duration=delays, loop=0)

with av.open("forty_eight.gif") as container:
    stream = container.streams.video[0]
    average, guessed = stream.average_rate, stream.guessed_rate
    decoded = list(container.decode(stream))
    seconds = float((decoded[-1].pts - decoded[0].pts) * stream.time_base)
measured = (len(decoded) - 1) / seconds
shortest = min(b.pts - a.pts for a, b in zip(decoded, decoded[1:]))
print("PyAV", av.__version__)
print(f"average_rate {average}, guessed_rate {guessed}")
print(f"time stamps: {len(decoded) - 1} frames in {seconds:.2f} s, {measured:g} a second; shortest {shortest}/100 s")
assert (len(decoded), seconds, shortest) == (49, 1.0, 2), "the file is not what it should be"
assert (average, guessed) == (50, 100), "the finding no longer holds"
PYTHON
