"""What `--help` says of options that need more than a few words."""

from __future__ import annotations

from ..core.checkpoints.families import AUTO, FAMILIES
from ..core.stream.seeds import MOST_SEED

FAMILY = (
    f"how the checkpoint was trained, for --model PATH: {', '.join(FAMILIES)} "
    f"(default: {AUTO}, which goes by its metadata, name and layout)"
)
LORA = "a LoRA to merge into the checkpoint; LongLive needs its own"
FP8 = (
    "hold the blocks' linear layers in FP8 (e4m3), half the weights, and compute in it on GPUs that can (Ada, "
    "Hopper, Blackwell)"
)
COMPILE = (
    "run what lies around attention through torch.compile: a minute or more once for a size, then less time for "
    "elementwise work (not measured on a GPU yet)"
)
DECODER = (
    "a light decoder in place of the VAE's own, for --model PATH: lightvaew2_1, lighttaew2_1 or taew2_1; "
    "given pictures and videos are still encoded by the VAE"
)
SPEED = "a preset in place of options for memory, selection, passes and FP8; says what it sets"
SEED = f"of the noise, from 0 to {MOST_SEED} (default: 0)"
BENCH_SEED = f"of weights, noise and roles, from 0 to {MOST_SEED} (default: 0)"
POLICY = "what is kept; family is what the model was trained with (default: dummy-forcing)"
ROPE = (
    "positions of kept frames: relative puts first frames right before the recent ones, absolute leaves all at "
    "their own, auto changes to relative when a video gets longer than the model was trained for (default: auto)"
)
RATIO = "dummy-forcing: share of heads that become dummies (default: 0.5)"
LOCAL = "dummy-forcing: chunks a neighbor head looks back (default: 1)"
PACKED = "dummy-forcing: recent latent frames a dummy head keeps (default: 1)"
CLASSIFY = "dummy-forcing: roles take effect after this chunk, from 0 (default: 1)"
COST = "how dummy heads are chosen (default: normalised, as the authors' code)"
FORCE_ROLES = (
    "roles of heads set by hand, whatever is measured: layer:head=sink, neighbor or dummy, counted from 0, with "
    "commas between, such as '3:5=sink, 10:2=dummy'"
)
SINK = "window: opening latent frames kept for ever (default: 3)"
WINDOW = "window: latent frames read in all (default: 12)"
SELECT = (
    "which kept keys queries read: all, those that Light Forcing chooses, fewer with every chunk, or those that an "
    "approximate search finds (ann); for long contexts and large frames (default: all)"
)
PRESET = (
    "light-forcing: training-free is for any model; the others have the authors' values, for weights tuned with "
    "them: clips of up to 5 s, and longer videos in a window of 12 (default: training-free)"
)
SPARSITY = "light-forcing: share of the keys that is not read, mean over the video (default: the preset's)"
BLOCK_SIZE = (
    "light-forcing: most tokens of a block, of queries and of keys (default: 128 and 64); ann: queries that "
    "read the same keys (default: 128)"
)
ANN_SEARCH = "ann: by 8-bit quantised centroids, or by hashes (default: quant)"
ANN_BITS = "ann: the history is put into 2^N buckets (default: 6)"
ANN_SHARE = "ann, quant: share of the buckets that a block of queries reads (default: 0.25)"
ANN_RADIUS = "ann, lsh: buckets are read whose hash differs in at most N bits (default: 1)"
ANN_HISTORY = "ann: latent frames of history below which all is read (default: 9)"
ANN_RECALL = "ann: layers in which the keys found have less of the attention read everything (default: 0.8)"
CROSS = (
    "which tokens of the prompt are read: all, or those near a frame's queries (default: all, as it costs little)"
)
PROMPTS = (
    "later prompts: lines such as 'chunk 4: a blue square moving left' or '3.5s: ...', or a JSON list of "
    '{"at": "chunk 4", "prompt": "..."}; with --model PATH files of embeddings in place of prompts'
)
RECACHE = "recache: newest latent frames computed anew under the new prompt (default: 12)"
INTERPOLATE = "interpolate: over how many chunks a prompt moves to the next (default: 4)"
GIVEN = (
    "videos are read upright and at the model's 16 frames a second by their time stamps, so that they keep their "
    "speed; pictures as their EXIF orientation says; sound is left out, and so are frames at the end that fill no "
    "latent frame (1, 5, 9, ... do)"
)
KEEP_FRAMES = "take every frame of --extend or --source as it is: other frame rates change the speed"
STRENGTH = "how much of the source is replaced, above 0 up to 1 (default: 0.8)"
CONTEXT_NOISE = "noise level at which finished chunks are kept (default: 0, as all released models)"
REFINE = "experimental: the clean pass, at --context-noise X, gives the result; use it with fewer --steps"
KV = "how kept frames are held: int8 halves the memory of 16 bits at a small error (default: full)"
MERGE = "temp-cache holds tokens that stay alike from frame to frame once (default: none)"
SIMILARITY = "temp-cache: cosine of keys above which tokens are alike; 1 merges nothing (default: 0.9)"
BUDGET = "temp-cache: latent frames' worth of tokens that a head holds at most (default: 21)"
CORRESPONDENCE = "temp-cache: where in the frame before a token is looked for (default: same place)"
MERGED_VALUES = "temp-cache: what merged tokens are read as: mean, as published, or newest (default: mean)"
BENCH_POLICY = (
    "dense, window[:SIZE[:SINK]], rolling-window[:SIZE[:SINK]] or dummy-forcing[:RATIO[:LOCAL CHUNKS]], after it "
    "+light-forcing[:SPARSITY[:PRESET]] or +ann[:SHARE|lsh[:BITS]], and +kv[:int8|fp8] (default: dense window:12 "
    "dummy-forcing:0.5); named before all options"
)
BENCH_LENGTHS = "latent frames; the last chunk of each is measured, behind a random history (default: 21)"
BENCH_DECODER = "the Wan 2.1 VAE, LightVAE or TAEHV in their published sizes (default: the shape's own VAE)"
BENCH_STEPS = "denoising passes a chunk, a clean one follows (default: 4)"
SKIP_LIST = "reuse the blocks' work of the pass before in these denoising passes of every chunk, from 1"
SKIP_RULE = "skip by TeaCache's rule, for many steps: estimated change allowed in all (TeaCache for Wan: 0.2)"
