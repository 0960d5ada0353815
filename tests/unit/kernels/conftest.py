"""Without a GPU, Triton's interpreter runs the kernels; it has to be asked for before Triton is imported."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch):
    monkeypatch.delenv("DUMMY_FORCING_ATTENTION", raising=False)
