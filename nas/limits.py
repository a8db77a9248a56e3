"""What each setting of a recipe may be, where its type does not say it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nas.errors import RecipeError

_LARGEST = 2**63
"""Whole numbers in TOML, and in torch, are below it."""
_ABOVE_ZERO = (
    "search.epochs", "search.weight_lr", "search.gradient_clip", "search.alpha_lr", "objective.k1", "objective.k2", "objective.rate",
    "train.epochs", "train.lr", "train.gradient_clip",
)  # fmt: skip
_NOT_NEGATIVE = (
    "seed", "space.init_scale", "network.size", "network.classes", "data.size", "data.limit", "search.warmup_epochs",
    "search.weight_lr_min", "search.weight_decay", "search.alpha_weight_decay", "search.cutout", "objective.k3", "objective.weight",
    "objective.reference", "objective.target", "train.lr_min", "train.weight_decay", "train.cutout", "train.auxiliary", "machine.threads",
)  # fmt: skip
_SHARES = ("search.momentum", "train.momentum", "train.drop_path", "train.label_smoothing", "train.jitter")
_SHARES_NOT_NOTHING = ("train.decay", "train.crop_area")
_BATCHES = ("search.batch_size", "train.batch_size")
_CHOICES = {
    "search.order": (1, 2),
    "objective.of": ("cells", "supernet", "network"),
    "train.schedule": ("cosine", "exponential"),
}
_MOST = {
    "space.nodes": 64, "space.channels": 2**16, "space.layers": 2**10, "network.channels": 2**16, "network.layers": 2**10,
    "network.size": 2**13, "network.classes": 2**24, "data.size": 2**13, "machine.threads": 2**10,
}  # fmt: skip
"""Far above anything of use; what is above them fails only later, in torch, by an overflow or for want of memory."""
_NOT_ABOVE = (
    ("search.weight_lr_min", "search.weight_lr", "the learning rate falls from one to the other"),
    ("train.lr_min", "train.lr", "the learning rate falls from one to the other"),
)


def check(settings: Mapping[str, Any]) -> None:
    """See that the settings of a recipe, as plain data, make sense, each by itself and together.

    Raises:
        RecipeError: one does not.
    """
    flat = _flat(settings)
    _check_numbers(flat)
    for place, choices in _CHOICES.items():
        if flat[place] not in choices:
            raise RecipeError(f"{place} must be {' or '.join(map(repr, choices))}, but is {flat[place]!r}")
    betas = flat["search.alpha_betas"]
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise RecipeError(f"search.alpha_betas must be two numbers from 0 to below 1, but are {list(betas)}")
    for low, high, why in _NOT_ABOVE:
        if flat[low] > flat[high]:
            raise RecipeError(f"{low} is {flat[low]} and {high} {flat[high]}: the first cannot be above the second, for {why}")
    if flat["search.warmup_epochs"] >= flat["search.epochs"]:
        raise RecipeError(
            f"search.warmup_epochs is {flat['search.warmup_epochs']} and search.epochs {flat['search.epochs']}, so that nothing would be "
            "searched: warm up for fewer epochs than there are"
        )
    if flat["objective.form"] == "budget" and flat["objective.of"] != "network":
        raise RecipeError(
            f"a budget is of the network that is trained, but objective.of is {flat['objective.of']!r}: set objective.of=network"
        )


def _check_numbers(flat: Mapping[str, Any]) -> None:
    for place, value in flat.items():
        if isinstance(value, float) and math.isinf(value):
            raise RecipeError(f"{place} must be finite, but is {value}")
        if isinstance(value, int) and abs(value) >= _LARGEST:
            raise RecipeError(f"{place} must be below 2^63, but is {value}")
    tests = (
        (_ABOVE_ZERO, lambda value: value > 0, "must be above zero"),
        (_NOT_NEGATIVE, lambda value: value >= 0, "cannot be negative"),
        (_SHARES, lambda value: 0 <= value < 1, "must be a share between 0 and 1"),
        (_SHARES_NOT_NOTHING, lambda value: 0 < value <= 1, "must be above 0 and at most 1"),
        (("search.train_share",), lambda value: 0 < value < 1, "must be a share between 0 and 1"),
        (("objective.exponent",), lambda value: value < 0, "must be below zero"),
        (_BATCHES, lambda value: value >= 2, "must be at least 2, for batch normalisation"),
    )
    for places, passes, rule in tests:
        for place in places:
            if not passes(flat[place]):
                raise RecipeError(f"{place} {rule}, but is {flat[place]}")
    for place, most in _MOST.items():
        if flat[place] > most:
            raise RecipeError(f"{place} can be {most:,} at most, but is {flat[place]:,}")


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by keys such as ``search.epochs``."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, Mapping) else {key: value}
    return found
