"""How many operations an optimizer makes of one parameter in one step, as its loop in ``torch.optim`` computes it.

Every element of an op counts as the rule of that op says: 1 for a sum, product, quotient or root, 2 for ``a + number * b``, 3 for
``a + number * b * c``. The first step, in which some buffers are only copied, is not counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flopscope.analyses.training.settings import Settings
from flopscope.graph import TensorType

Operations = Callable[[TensorType, Settings], int]

STEP = 1
"""The count of steps is raised by one."""


def sgd(weight: TensorType, settings: Settings) -> int:
    """2 for the step; momentum 2, with dampening 3; Nesterov 2."""
    momentum = 2 + settings.dampening + 2 * settings.nesterov if settings.momentum else 0
    return weight.elements * (2 + momentum + _shared(settings))


def adam(weight: TensorType, settings: Settings) -> int:
    """First moment 3, second 4, root and bias corrections 3, step 3; AMSGrad 1."""
    return weight.elements * (13 + settings.amsgrad + _shared(settings)) + STEP


def nadam(weight: TensorType, settings: Settings) -> int:
    """Adam with a second step of 3, and the product of the momenta."""
    return weight.elements * (16 + _shared(settings)) + STEP + 1


def rmsprop(weight: TensorType, settings: Settings) -> int:
    """Mean of squares 4, root 2, step 3; centring 6; momentum 4 and a step of 2 in place of 3, of which the quotient is part."""
    return weight.elements * (9 + 6 * settings.centered + 3 * settings.momentum + _shared(settings)) + STEP


def adagrad(weight: TensorType, settings: Settings) -> int:
    """Sum of squares 3, root 2, step 3."""
    return weight.elements * (8 + _shared(settings)) + STEP


def adafactor(weight: TensorType, settings: Settings) -> int:
    """Norms of parameter and update, the factors of the second moment and their product, the update and the step."""
    elements, shape = weight.elements, weight.shape
    if len(shape) < 2:
        return elements * (14 + _shared(settings)) + STEP + 2
    rows, columns, matrices = elements // max(shape[-1], 1), elements // max(shape[-2], 1), math.prod(shape[:-2])
    return elements * (17 + _shared(settings)) + 6 * (rows + columns) + rows + 2 * matrices + STEP + 2


def lion(weight: TensorType, settings: Settings) -> int:
    """Interpolation 3, sign 1, step 2, moment 3.

    Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """
    return weight.elements * (9 + _shared(settings))


def muon(weight: TensorType, settings: Settings) -> int:
    """Momentum, five products of matrices in each of three lines, and the step; of what is no matrix those of AdamW."""
    if len(weight.shape) != 2:
        return adam(weight, settings)
    elements, side = weight.elements, min(weight.shape)
    square = side * side
    products = 2 * side * elements * 2 + 2 * side * square
    sums = square + elements
    before = elements * (3 + 3 * settings.nesterov + 3) + 2
    return before + settings.newton_schulz_steps * (products + sums) + 2 * elements + _shared(settings) * elements


def eight_bits(plain: Operations, moments: int) -> Operations:
    """Those of the plain optimizer, and 11 for each moment of an element.

    A product to read it; to write it, a comparison for the maximum of its block, a quotient, and 8 comparisons that find the nearest
    of 256 numbers.
    """

    def operations(weight: TensorType, settings: Settings) -> int:
        small = weight.elements < settings.min_8bit_size
        # The count of steps is no tensor here.
        counted = plain(weight, settings) - (STEP if plain is adam else 0)
        return counted + (0 if small else 11 * moments * weight.elements)

    return operations


def _shared(settings: Settings) -> int:
    """Operations per element: a sign to maximize, and weight decay, which is one product where it is decoupled."""
    return settings.maximize + (0 if not settings.weight_decay else 1 if settings.decoupled else 2)
