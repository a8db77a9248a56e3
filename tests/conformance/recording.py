"""Prices every op of a real run, forward and backward, and compares with PyTorch's own formulas where it has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from flopscope.errors import RuleError
from flopscope.frontends.torch.cells import type_of
from flopscope.frontends.torch.memo import describe
from flopscope.frontends.torch.schema import flat_tensors, schema_of
from flopscope.rules import price, why_uncounted

REAL_MACS = {True: 4, False: 1}
"""In a complex multiply-accumulate; PyTorch's formulas count one as if it were real."""


class Recording(TorchDispatchMode):
    """Notes what is wrong with the price of any op that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.priced: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        tensors = flat_tensors((*args, *kwargs.values()))
        if all(tensor.layout is torch.strided for tensor in (*tensors, *flat_tensors(result))):
            self._check(func, args, kwargs, result, tensors)
        return result

    def _check(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any, tensors: list[Tensor]) -> None:
        outputs = tuple(type_of(tensor) for tensor in flat_tensors(result))
        signature = describe(schema_of(func), args, kwargs, [type_of(tensor) for tensor in tensors], outputs, "fresh")
        call = f"{signature.target}({', '.join(map(str, signature.inputs))}; {signature.attributes})"
        try:
            cost = price(signature)
        except RuleError as error:
            self.faults.append(f"{call}: {error}")
            return
        if cost is None:
            if why_uncounted(signature.target) is None:
                self.faults.append(f"{call}: no price, and no reason")
            return
        self.priced[signature.target] += 1
        counts = (cost.macs, cost.flops, cost.elements_read, cost.elements_written, cost.bytes_read, cost.bytes_written)
        if any(type(count) is not int or count < 0 for count in counts) or cost.flops < 2 * cost.macs:
            self.faults.append(f"{call}: {cost}")
        formula = flop_registry.get(func._overloadpacket)
        # PyTorch's formula for the gradient of a grouped weight leaves out that a filter sees the channels of its group only.
        grouped_gradient = signature.target == "aten::convolution_backward" and signature.get("groups", 1) != 1
        if formula is not None and not grouped_gradient:
            self.compared[signature.target] += 1
            is_complex = any(tensor.is_complex() for tensor in tensors)
            expected = formula(*args, **kwargs, out_val=result)
            if 2 * cost.macs != expected * REAL_MACS[is_complex]:
                self.faults.append(f"{call}: {cost.macs} MACs, where PyTorch's formula gives {expected} FLOPs")
