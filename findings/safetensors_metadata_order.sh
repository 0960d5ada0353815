#!/usr/bin/env bash
# safetensors writes other bytes every time it saves the same tensors with the same metadata.
#
# Library:   safetensors 0.8.0, Python 3.10 or newer.
# Input:     one small tensor and four metadata entries, saved twenty times in one process.
# Guess:     one file: the format is deterministic (it sorts tensors by type and name), and Python's dict has an order.
# Seen:      up to twenty different files. Tensors and their offsets are the same; the entries of "__metadata__" stand
#            in another order in each. With one entry, or none, all files are equal.
# Why it matters: a checkpoint's SHA-256 cannot be checked by converting it again, build caches and content-addressed
#            stores see a new file every time, and tests that compare files by bytes fail now and then. Compare tensors
#            and metadata instead, or keep all metadata in one entry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.2.6
"$work/venv/bin/python" - <<'PYTHON'
import json

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"a": np.zeros(3, np.float32), "b": np.ones(2, np.float16)}
four = {"author": "nobody", "base": "wan", "format": "pt", "steps": "4"}


def header(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


several = [save(tensors, four) for _ in range(20)]
one = [save(tensors, {"format": "pt"}) for _ in range(20)]
orders = {tuple(header(data)["__metadata__"]) for data in several}
print("safetensors", safetensors.__version__)
print(f"four entries: {len(set(several))} different files of 20, {len(orders)} orders of the metadata")
print(f"one entry: {len(set(one))} different files of 20")
assert all(header(data) == header(several[0]) for data in several), "more than the order differs"
assert len(set(one)) == 1, "the finding no longer holds: other things change too"
assert len(set(several)) > 1, "the finding no longer holds: files are equal"
PYTHON
