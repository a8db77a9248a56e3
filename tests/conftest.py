"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of published data, or a skip where there is none."""
    folder = os.environ.get("FLOPSCOPE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLOPSCOPE_DATA names no folder with published data")
    return Path(folder)
