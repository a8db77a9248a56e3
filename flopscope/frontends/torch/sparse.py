"""Sparse tensors: a product with a dense one has a shape; what else an op makes of them only true data can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flopscope.frontends.torch.cells import Cell
from flopscope.frontends.torch.schema import flat_tensors

aten = torch.ops.aten
_PRODUCTS = frozenset((
    aten.mm.default, aten.matmul.default, aten.mv.default, aten.addmm.default, aten.linear.default, aten._sparse_mm.default,
    aten._sparse_addmm.default, aten.hspmm.default, aten.sspaddmm.default,
))  # fmt: skip


def knows_result(func: Any, operands: Sequence[Cell]) -> bool:
    """Whether shapes alone tell the result of an op on these operands."""
    sparse = sum(cell.type.nonzero is not None for cell in operands)
    return sparse == 0 or (sparse == 1 and func in _PRODUCTS)


def is_sparse(result: Any) -> bool:
    """Whether a result has elements that are not stored."""
    return any(isinstance(tensor, Tensor) and tensor.layout is not torch.strided for tensor in flat_tensors(result))
