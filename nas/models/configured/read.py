"""Configurations as files, and the networks that they describe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nas.errors import GenotypeError
from nas.models.configured.mobile import MobileNetwork
from nas.models.configured.tree import TreeNetwork

NETWORKS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "ProxylessNASNets": MobileNetwork, "MobileNetV3": MobileNetwork, "PyramidTreeNet": TreeNetwork,
}  # fmt: skip


def network_of(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration, with new weights.

    Raises:
        GenotypeError: it describes none.
    """
    name = config.get("name")
    if name not in NETWORKS:
        raise GenotypeError(f"a configuration describes {name!r}, where one of {', '.join(NETWORKS)} is needed")
    return NETWORKS[name](config)


def load_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a configuration.

    Raises:
        GenotypeError: the file cannot be read, or is no table.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise GenotypeError(f"cannot read a network from {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise GenotypeError(f"{path} is no configuration of a network: {error}") from error
    if not isinstance(found, dict):
        raise GenotypeError(f"{path} is no configuration of a network: a table is needed, but it holds a {type(found).__name__}")
    return found


def save_config(config: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a configuration.

    Raises:
        GenotypeError: the file cannot be written.
    """
    try:
        Path(path).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise GenotypeError(f"cannot write a network to {path}: {error.strerror or error}") from error
