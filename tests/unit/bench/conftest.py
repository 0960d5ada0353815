import pytest
import torch

from dummy_forcing.core.bench.setting import BenchSetting
from dummy_forcing.core.bench.shapes import BenchShape
from dummy_forcing.core.bench.typed_memories import parse_policies
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.wan.vae import WanVAEShape

TINY = BenchShape(
    WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, freq_dim=32), WanVAEShape(width=8), (4, 4)
)


@pytest.fixture
def setting():
    """A function that makes a setting of seconds; options as of `BenchSetting`."""

    def make(*policies, **options) -> BenchSetting:
        options = {"lengths": (9,), "repeats": 2, "shape": TINY, "latent_size": (4, 4)} | options
        return BenchSetting(
            policies=parse_policies(policies), device=torch.device("cpu"), dtype=torch.float32, **options
        )

    return make
