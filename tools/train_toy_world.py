"""Trains the built-in toy world: `python tools/train_toy_world.py --work DIR`.

Stages, each resumable and deterministic by seed: the autoencoder, the latents of the training scenes, the causal
backbone, and the export of both weight files to core/world/weights. Those shipped took 100 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from toy_training.backbone import CHUNK_FRAMES, BackboneTraining, train_backbone
from toy_training.export import export
from toy_training.latents import LatentPool, centre_latents
from toy_training.vae import VAETraining, train_vae

LATENT_FRAMES = 21
WEIGHTS = Path(__file__).resolve().parent.parent / "core" / "world" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/toy_training"), help="folder for states and curves")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder that the weight files are written to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone-steps", type=int, default=BackboneTraining.steps)
    options = parser.parse_args()
    vae = train_vae(options.work, VAETraining(), options.seed)
    centre_latents(vae, options.seed)
    clips = LatentPool(options.work / "clips.pt", vae, LATENT_FRAMES, options.seed)
    openings = LatentPool(options.work / "openings.pt", vae, CHUNK_FRAMES, options.seed + 1)
    training = BackboneTraining(steps=options.backbone_steps)
    backbone = train_backbone(options.work, clips, openings, training, options.seed)
    export(options.weights, backbone, vae)


if __name__ == "__main__":
    main()
