"""Trains the built-in toy world: `python tools/train_toy_world.py --work DIR`.

Stages, each resumable and deterministic by seed: the autoencoder, the latents of the training scenes, the causal
backbone, and the export of both weight files to core/world/weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from toy_training.vae import VAETraining, train_vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/toy_training"), help="folder for states and curves")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train_vae(options.work, VAETraining(), options.seed)


if __name__ == "__main__":
    main()
