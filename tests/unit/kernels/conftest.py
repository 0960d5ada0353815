"""Kernels choose for themselves, whatever the user's shell asks for."""

import pytest


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch):
    monkeypatch.delenv("DUMMY_FORCING_ATTENTION", raising=False)
