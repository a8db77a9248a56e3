"""Elements read and written, by arithmetic written out: views, in-place ops, broadcasting, look-ups, padding, products.

What is read is what a kernel needs from memory: a part of a tensor is not the whole, and an element that an expanded tensor shows many times
lies there once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import flopscope

Case = tuple[str, Callable[..., Any], list[str], int, int]

X, ROWS, MASK = "4x6", "2:int64", "4x6:bool"


def _into(x: torch.Tensor, write: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """A view of the input is written: what the model returns is the input."""
    write(x)
    return x


CASES: list[Case] = [
    # name, function, inputs, read, written
    ("a view", lambda x: x.view(24)[3:].t(), [X], 0, 0),
    ("expand", lambda x: x.expand(4, 6), ["1x6"], 0, 0),
    ("expand, copied", lambda x: x.expand(4, 6).contiguous(), ["1x6"], 6, 24),
    ("broadcasting", lambda x, y: x + y, [X, "6"], 24 + 6, 24),
    ("broadcasting both", lambda x, y: x + y, ["4x1", "6"], 4 + 6, 24),
    ("an expanded operand", lambda x, y: x + y.expand(4, 6), [X, "6"], 24 + 6, 24),
    ("in place", lambda x: x.relu_(), [X], 24, 24),
    ("in place with another", lambda x, y: x.add_(y), [X, "6"], 24 + 6, 24),
    ("fill a column", lambda x: _into(x, lambda x: x[:, 0].fill_(0)), [X], 0, 4),
    ("copy into columns", lambda x, y: _into(x, lambda x: x[:, :2].copy_(y)), [X, "2"], 2, 8),
    ("cat", lambda x, y: torch.cat([x, y]), [X, "2x6"], 24 + 12, 36),
    ("stack", lambda x: torch.stack([x, x]), [X], 48, 48),
    ("chunks, turned round", lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), [X], 24, 24),
    ("a part, copied", lambda x: x[:, :3].clone(), [X], 12, 12),
    ("cast", lambda x: x.half(), [X], 24, 24),
    ("cast to the same", lambda x: x.float(), [X], 0, 0),
    ("repeat", lambda x: x.repeat(3, 1), [X], 24, 72),
    ("pad", lambda x: F.pad(x, (1, 2)), [X], 24, 4 * 9),
    ("crop", lambda x: F.pad(x, (-1, -2)), [X], 4 * 3, 4 * 3),
    ("crop and pad", lambda x: F.pad(x, (-2, 3, 1, -1)), [X], 3 * 4, 4 * 7),
    ("reflect", lambda x: F.pad(x, (2, 2), mode="reflect"), ["1x4x6"], 24, 40),
    ("diagonal of a matrix", lambda x: torch.diag(x), ["6x6"], 6, 6),
    ("second diagonal", lambda x: torch.diag(x, 1), ["6x6"], 5, 5),
    ("matrix of a diagonal", lambda x: torch.diag(x), ["6"], 6, 36),
    ("diagonal, copied", lambda x: x.diagonal().clone(), ["6x6"], 6, 6),
    ("slice_copy", lambda x: torch.slice_copy(x, 1, 0, 2), [X], 8, 8),
    ("select_copy", lambda x: torch.select_copy(x, 0, 1), [X], 6, 6),
    ("narrow_copy", lambda x: torch.narrow_copy(x, 1, 0, 2), [X], 8, 8),
    ("embedding", lambda i, w: F.embedding(i, w), ["3x5:int64", "100x8"], 15 + 15 * 8, 15 * 8),
    ("index_select", lambda x, i: x.index_select(0, i), [X, ROWS], 2 + 12, 12),
    ("rows", lambda x, i: x[i], [X, ROWS], 2 + 12, 12),
    ("elements", lambda x, i, j: x[i, j], [X, "3:int64", "3:int64"], 3 + 3 + 3, 3),
    ("elements, broadcast", lambda x, i, j: x[i, j], [X, "3x1:int64", "2:int64"], 3 + 2 + 6, 6),
    ("gather", lambda x, i: x.gather(1, i), [X, "4x2:int64"], 8 + 8, 8),
    ("gather by an expanded index", lambda x, i: x.gather(0, i.expand(2, 6)), [X, "2x1:int64"], 2 + 12, 12),
    ("scatter in place", lambda x, i, v: x.scatter_(1, i, v), [X, "4x2:int64", "4x2"], 8 + 8, 8),
    ("scatter by an expanded index", lambda x, i, v: x.scatter_(0, i.expand(2, 6), v), [X, "2x1:int64", "2x6"], 2 + 12, 12),
    ("index_put in place", lambda x, i, v: x.index_put_((i,), v), [X, ROWS, "2x6"], 2 + 12, 12),
    ("index_add in place", lambda x, i, v: x.index_add_(0, i, v), [X, ROWS, "2x6"], 2 + 12 + 12, 12),
    ("index_add", lambda x, i, v: x.index_add(0, i, v), [X, ROWS, "2x6"], 24 + 2 + 12 + 12, 24 + 12),
    ("where", lambda x, m: torch.where(m, x, 0.0), [X, MASK], 24 + 24, 24),
    ("a mask that is broadcast", lambda x, m: x.masked_fill(m, 0.0), ["3x4x6", MASK], 72 + 24, 72),
    ("product with a shared matrix", lambda a, b: torch.bmm(a, b.expand(3, 5, 6)), ["3x4x5", "1x5x6"], 60 + 30, 72),
    ("added to a product", lambda c, a, b: torch.addmm(c, a, b), ["6", "4x5", "5x6"], 6 + 20 + 30, 24),
    ("ignored by a product", lambda c, a, b: torch.addmm(c, a, b, beta=0), ["4x6", "4x5", "5x6"], 20 + 30, 24),
    ("ignored by products", lambda c, a, b: torch.baddbmm(c, a, b, beta=0), ["3x4x6", "3x4x5", "3x5x6"], 60 + 90, 72),
    ("attention", F.scaled_dot_product_attention, ["1x2x5x4", "1x2x7x4", "1x2x7x3"], 40 + 56 + 42, 30),
    ("attention with a shared mask", F.scaled_dot_product_attention, ["2x2x5x4", "2x2x7x4", "2x2x7x4", "5x7"], 80 + 2 * 112 + 35, 80),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "read", "written"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_access(function: Callable[..., Any], inputs: list[str], read: int, written: int) -> None:
    total = flopscope.analyze(function, *inputs).total
    assert (total.elements_read, total.elements_written) == (read, written)
    assert not total.partial


def test_bytes_are_those_of_each_dtype() -> None:
    total = flopscope.analyze(lambda x, i: x.half()[i], X, ROWS).total
    assert (total.bytes_read, total.bytes_written) == (24 * 4 + 12 * 2 + 2 * 8, 24 * 2 + 12 * 2)


def test_what_a_product_ignores_is_not_added() -> None:
    function = lambda c, a, b: torch.addmm(c, a, b, beta=0)  # noqa: E731 - as above
    assert flopscope.analyze(function, "4x6", "4x5", "5x6").total.flops == 2 * 4 * 5 * 6
