"""What `--help` says of options that need more than a few words."""

from __future__ import annotations

from ..core.bench.typed_memories import syntax
from ..core.checkpoints.families.table import AUTO, FAMILIES
from ..core.stream.noise import MOST_SEED
from .method_options import selectable


def listed(slot: str) -> str:
    """What the methods of a slot do, by their names on the command line."""
    return " ".join(f"{name}: {method.about}" for name, method in selectable(slot).items())


FAMILY = (
    f"how the checkpoint was trained, for --model PATH: {', '.join(FAMILIES)} "
    f"(default: {AUTO}, detected from its metadata, name and layout)"
)
LORA = "a LoRA to merge into the checkpoint; LongLive needs its own"
FP8 = (
    "hold the blocks' linear layers in FP8 (e4m3), half the weights, and compute in it on GPUs that can (Ada, "
    "Hopper, Blackwell)"
)
COMPILE = (
    "run what lies around attention through torch.compile: takes a minute or more once per video size, then saves "
    "time in elementwise work (not measured on a GPU yet)"
)
DECODER = (
    "a light decoder in place of the VAE's own, for --model PATH: lightvaew2_1, lighttaew2_1 or taew2_1; "
    "given pictures and videos are still encoded by the VAE"
)
SPEED = "a preset in place of options for memory, selection, passes and FP8; says what it sets"
SEED = f"of the noise, from 0 to {MOST_SEED} (default: 0)"
BENCH_SEED = f"of weights, noise and roles, from 0 to {MOST_SEED} (default: 0)"
POLICY = f"what is kept: {listed('keep')} family: what the model was trained with. (default: dummy-forcing)"
ROPE = (
    "positions of kept frames: relative puts the first frames right before the recent ones, absolute leaves every "
    "frame at its own, auto changes to relative when a video gets longer than the model was trained for (default: "
    "auto)"
)
COST = "how dummy heads are chosen (default: normalised, as in the authors' code)"
FORCE_ROLES = (
    "roles of heads set by hand, whatever is measured: layer:head=sink, neighbor or dummy, counted from 0, with "
    "commas between, such as '3:5=sink, 10:2=dummy'"
)
SELECT = f"which kept keys queries read: {listed('select')} (default: all)"
CROSS = f"which tokens of the prompt are read: {listed('cross')} (default: all)"
PROMPTS = (
    "later prompts: lines such as 'chunk 4: a blue square moving left' or '3.5s: ...', or a JSON list of "
    '{"at": "chunk 4", "prompt": "..."}; with --model PATH files of embeddings in place of prompts'
)
RECACHE = "recache: newest latent frames computed anew under the new prompt (default: 12)"
INTERPOLATE = "interpolate: over how many chunks a prompt moves to the next (default: 4)"
GIVEN = (
    "videos are read upright and at the model's 16 frames a second by their time stamps, so that they keep their "
    "speed; pictures as their EXIF orientation says; sound is left out, and so are frames at the end that do not "
    "fill a latent frame (1, 5, 9, ... frames fit)"
)
KEEP_FRAMES = "take every frame of --extend or --source as it is; a video of another rate then changes speed"
STRENGTH = "how much of the source is replaced, above 0 up to 1 (default: 0.8)"
CONTEXT_NOISE = "noise level at which finished chunks are kept (default: 0, as in all released models)"
REFINE = "experimental: the clean pass, at --context-noise X, gives the result; use it with fewer --steps"
MERGE = f"how kept frames are held: {listed('merge')} (default: none)"
BENCH_POLICY = f"{syntax()} (default: dense window:12 dummy-forcing:0.5); put policies before all options"
BENCH_LENGTHS = "latent frames; the last chunk of each is measured, behind a random history (default: 21)"
BENCH_DECODER = "the Wan 2.1 VAE, LightVAE or TAEHV in their published sizes (default: the shape's own VAE)"
BENCH_STEPS = "denoising passes a chunk, a clean one follows (default: 4)"
