"""A cost that is a sum of tables over decisions: its value at architectures, alone or a million at once, and its expectation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from flopscope.errors import InputError, SupernetError
from flopscope.relax.choices.decisions import check_simplex, tolerance_of
from flopscope.relax.choices.elimination import Factor
from flopscope.relax.choices.tables import Literals, Shared, Table, tables_of

_ENTRIES_AT_ONCE = 2**18
"""Large batches go through in pieces that fit into a processor's cache, which is several times faster."""


class AdditiveCost:
    """The sum of a constant and of tables over a few decisions each, for several metrics.

    Args:
        counts: per set of alternatives (any one of which makes something be there), its counts by metric.
        sizes: how many candidates each decision has.
    """

    def __init__(self, counts: Mapping[frozenset[Literals], Sequence[int]], sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.constants, self.tables = tables_of(counts, sizes)
        singles = torch.zeros(len(self.constants), len(sizes), max(sizes), dtype=torch.int64)
        for table in self.tables:
            if isinstance(table, Table) and len(table.decisions) == 1:
                singles[:, table.decisions[0], : table.values.shape[1]] += table.values
        self.singles = singles
        """By metric, decision and candidate (padded with zeros): what depends on one decision alone."""

    @property
    def device(self) -> torch.device:
        """Where the tables are."""
        return self.singles.device

    def to(self, device: torch.device) -> None:
        """Move the tables."""
        self.tables = [table.to(device) for table in self.tables]
        self.singles = self.singles.to(device)

    @property
    def _joint(self) -> list[Table | Shared]:
        return [table for table in self.tables if isinstance(table, Shared) or len(table.decisions) > 1]

    def expected(self, metric: int, probabilities: Tensor) -> Tensor:
        """The expected cost under probabilities ``[..., D, K]`` that are known to be right: float64 of shape ``[...]``."""
        probabilities = probabilities.to(precision(probabilities.device))
        weights = self.singles[metric].to(probabilities.dtype)
        total = (probabilities * weights).sum((-2, -1)) if probabilities.dim() == 2 else probabilities.flatten(-2) @ weights.flatten()
        total = total + self.constants[metric]
        for table in self._joint:
            total = total + table.expected(metric, probabilities)
        return total

    def expected_of_all(self, metric: int, given: Tensor) -> Tensor:
        """The same after a check, for ``[D, K]`` or ``[N, D, K]``.

        Raises:
            InputError: the shape is wrong, or a row is negative or does not sum to one.
        """
        decisions, longest = self.singles.shape[1:]
        if given.dim() not in (2, 3) or given.shape[-2:] != (decisions, longest):
            wanted = f"[{decisions}, {longest}] or [N, {decisions}, {longest}]"
            raise InputError(f"architectures as probabilities must have the shape {wanted}, but are {_described(given)}")

        def of_piece(piece: Tensor) -> Tensor:
            piece = piece.to(precision(piece.device))
            self._check_rows(piece, tolerance_of(given.dtype))
            return self.expected(metric, piece)

        if given.dim() == 2 or given.requires_grad:
            return of_piece(given)
        return _in_pieces(of_piece, given, decisions * longest, precision(given.device))

    def _check_rows(self, given: Tensor, tolerance: float) -> None:
        for decision, size in enumerate(self.sizes):
            if size < given.shape[-1] and bool(given[..., decision, size:].any()):
                raise InputError(f"decision {decision} has {size} candidates, so its probabilities must be zero from number {size} on")
        try:
            check_simplex(given, lambda row: f"decision {row[-1]} of an architecture", tolerance)
        except SupernetError as error:
            raise InputError(str(error)) from None

    def at_all(self, metric: int, given: Tensor) -> Tensor:
        """The cost at architectures given as indices, ``[D]`` or ``[N, D]``: int64 of shape ``[]`` or ``[N]``.

        Raises:
            InputError: the shape is wrong, or an index is out of range.
        """
        count = len(self.sizes)
        if given.dim() not in (1, 2) or given.shape[-1] != count or given.dtype == torch.bool or given.is_complex():
            wanted = f"integers of the shape [{count}] or [N, {count}]"
            raise InputError(f"architectures as indices must be {wanted}, but are {_described(given)}")
        values = self.singles[metric].flatten()
        offsets = torch.arange(count, device=given.device) * self.singles.shape[-1]
        joint = self._joint

        def of_piece(piece: Tensor) -> Tensor:
            rows = self._checked_indices(piece)
            total = values.index_select(0, (rows + offsets).flatten()).view(rows.shape).sum(-1) + self.constants[metric]
            for table in joint:
                total = total + table.at(metric, rows)
            return total

        return _in_pieces(of_piece, given.view(-1, count), count, torch.int64).view(given.shape[:-1])

    def _checked_indices(self, rows: Tensor) -> Tensor:
        if not len(rows):
            return rows.long()
        lowest, highest = rows.aminmax(dim=0)
        for decision, (low, high) in enumerate(zip(lowest.tolist(), highest.tolist(), strict=True)):
            if low < 0 or high >= self.sizes[decision]:
                found = low if low < 0 else high
                last = self.sizes[decision] - 1
                raise InputError(f"decision {decision} has the candidates 0 to {last}, but an architecture takes {found}")
        return rows.long()

    def factors(self, metric: int, dtype: torch.dtype) -> list[Factor]:
        """All tables but the constant as factors, for a reduction over all architectures.

        Raises:
            SupernetError: one is not written out, because too many decisions share it.
        """
        for table in self.tables:
            if isinstance(table, Shared) and table.amounts[metric]:
                raise SupernetError(
                    f"weights are shared by {len(table.decisions)} decisions, which are too many combinations to list. Expected costs "
                    "and those of given architectures are still exact."
                )
        return [Factor(table.decisions, table.values[metric].to(dtype)) for table in self.tables if isinstance(table, Table)]


def _in_pieces(of_piece: Callable[[Tensor], Tensor], rows: Tensor, entries: int, dtype: torch.dtype) -> Tensor:
    step = max(1, _ENTRIES_AT_ONCE // entries) if rows.device.type == "cpu" else max(1, len(rows))
    found = torch.empty(len(rows), dtype=dtype, device=rows.device)
    for start in range(0, len(rows), step):
        found[start : start + step] = of_piece(rows[start : start + step])
    return found


def precision(device: torch.device) -> torch.dtype:
    """Counts are exact in double precision up to 2^53. One kind of device has none."""
    return torch.float32 if device.type == "mps" else torch.float64


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
