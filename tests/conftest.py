"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_engine() -> Iterator[None]:
    """torchvision's builders of quantised models choose an engine for the whole process; no test may leave one behind."""
    engine = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = engine


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of published data, or a skip where there is none."""
    folder = os.environ.get("FLOPSCOPE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLOPSCOPE_DATA names no folder with published data")
    return Path(folder)
