"""Where flopscope keeps what it measured on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder() -> Path:
    """The folder for a user's measurements: ``flopscope`` in ``XDG_CACHE_HOME``, by default in ``~/.cache``. It need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "flopscope"
