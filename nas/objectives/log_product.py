"""The loss times a power of the logarithm of the cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from nas.objectives.objective import Stateless


@dataclass
class LogProduct(Stateless):
    """``L k1 (ln(cost) / ln(reference))^k2``.

    - With reference e, this is Song & Li 2020, eq. 7 and 9: ``F = k1 ln(sum of m p)^k2``, ``L_total = L F``, where the cost has their k3
      in it already; and Wu et al. 2019 (FBNet, arXiv:1812.03443), eq. 2: ``CE alpha log(LAT)^beta``.
    - With another reference, it is ``mul#log`` of the code of Cai et al. 2019 (ProxylessNAS):
      ``CE alpha (log(LAT) / log(reference))^beta``.

    The gradient is ``grad L F + L grad F`` (Song & Li, eq. 10). A cost of e or less counts as e: below it the factor would turn the sign.

    Attributes:
        k1: a factor.
        k2: an exponent.
        reference: a cost; e leaves the logarithm as it is.
    """

    k1: float = 1.0
    k2: float = 1.0
    reference: float = math.e

    def factor(self, cost: Tensor) -> Tensor:
        """What the loss is multiplied by."""
        return self.k1 * (cost.clamp(min=math.e).log() / math.log(self.reference)) ** self.k2

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """The total loss."""
        return loss * self.factor(cost).to(loss)
