"""``PyramidTreeNet``: residual blocks that widen from one to the next, each with a tree of paths in its middle (Cai et al. 2019, 4.1).

A node of a tree sends its input down its edges: a copy down each, or a part of the channels. What comes up is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import GenotypeError
from nas.models.configured.layers import Config, layer_of, whole
from nas.models.layers import init_weights

_DEEPEST = 8
"""Levels of a tree. The published one has four."""


class TreeNode(nn.Module):
    """A node with its edges, and the nodes below them.

    Args:
        config: its table.
        depth: levels that may still follow.
    """

    def __init__(self, config: Any, depth: int = _DEEPEST) -> None:
        super().__init__()
        if not isinstance(config, Mapping) or config.get("name") != "TreeNode" or depth < 1:
            raise GenotypeError(f"a tree must consist of at most {_DEEPEST} levels of TreeNode, but has {str(config)[:60]}")
        edges, children = config.get("edges"), config.get("child_nodes")
        if not isinstance(edges, list) or not isinstance(children, list) or not edges or len(edges) != len(children):
            raise GenotypeError("a TreeNode needs edges, and for each of them a node below it, or null")
        self.splits = config.get("split_type") == "split"
        known = {"split_type": (None, "copy", "split"), "merge_type": (None, "add")}
        for key, values in known.items():
            if config.get(key) not in values or (config.get(key) is None and len(edges) > 1):
                raise GenotypeError(f"a TreeNode of {len(edges)} edges has {key} = {config.get(key)!r}; known are {values}")
        if self.splits and whole(config, "in_channels") % len(edges):
            raise GenotypeError(f"{config['in_channels']} channels cannot be split into {len(edges)} equal parts")
        self.edges = nn.ModuleList(layer_of(edge) for edge in edges)
        self.children_below = nn.ModuleList(nn.Identity() if child is None else TreeNode(child, depth - 1) for child in children)
        outputs = whole(config, "out_channels")
        has_norm = bool(config.get("has_branch_bn"))
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) if has_norm else nn.Identity() for _ in edges)

    def forward(self, x: Tensor) -> Tensor:
        """What the branches make, added."""
        parts = torch.chunk(x, len(self.edges), 1) if self.splits else [x] * len(self.edges)
        branches = zip(parts, self.edges, self.children_below, self.norms, strict=True)
        found = [norm(child(edge(part))) for part, edge, child, norm in branches]
        total: Tensor = found[0]
        for other in found[1:]:
            total = total + other
        return total


class ResidualTreeBlock(nn.Module):
    """Narrow, a tree, widen, beside a shortcut whose missing channels are zero (Han et al. 2017, PyramidNet, arXiv:1610.02915)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        last = config.get("out_bottle")
        if not isinstance(last, Mapping):
            raise GenotypeError("a ResidualTreeBlock needs an out_bottle")
        self.narrow, self.tree, self.widen = layer_of(config.get("in_bottle")), TreeNode(config.get("cell")), layer_of(last)
        self.norm = nn.BatchNorm2d(whole(last, "out_channels")) if config.get("final_bn") else nn.Identity()
        self.shortcut = layer_of(config.get("shortcut"))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps with at least as many channels as those given."""
        y: Tensor = self.norm(self.widen(self.tree(self.narrow(x))))
        shortcut = self.shortcut(x)
        return y + F.pad(shortcut, (0, 0, 0, 0, 0, y.shape[1] - shortcut.shape[1]))


class TreeNetwork(nn.Module):
    """Transitions and residual blocks of trees in a row, and a classifier.

    Attributes:
        config: what it was made from.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        blocks = config.get("blocks")
        if not isinstance(blocks, list):
            raise GenotypeError(f"blocks must be a list, but is {str(blocks)[:60]}")
        self.blocks = nn.Sequential(*map(_block, blocks))
        self.classifier = layer_of(config.get("classifier"))
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)``."""
        logits: Tensor = self.classifier(torch.flatten(self.blocks(x), 1))
        return logits


def _block(config: Any) -> nn.Module:
    name = config.get("name") if isinstance(config, Mapping) else config
    if name == "ResidualTreeBlock":
        return ResidualTreeBlock(config)
    if name == "TransitionBlock" and isinstance(config.get("layers"), list):
        return nn.Sequential(*map(layer_of, config["layers"]))
    raise GenotypeError(f"there is no block {str(name)[:60]!r}; there are ResidualTreeBlock and TransitionBlock")
