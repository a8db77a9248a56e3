"""Reads of values that no op shows: ``tensor.tolist()`` and ``tensor.numpy()`` of tensors whose values come from the inputs."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from flopscope.frontends.torch.ledger import Ledger


class _Reading:
    """A method of one tensor that notes that it was called."""

    def __init__(self, ledger: Ledger, tensor: Tensor, name: str) -> None:
        # The tensor is held although it holds this: in ``x[0].tolist()`` nobody else does when the call comes. Such tensors are small.
        self._ledger, self._tensor, self._name = weakref.ref(ledger), tensor, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ledger = self._ledger()
        if ledger is not None:
            ledger.data_dependent.append((f"Tensor.{self._name}", ledger.scope))
        return getattr(Tensor, self._name)(self._tensor, *args, **kwargs)

    def __deepcopy__(self, memo: object) -> _Reading:
        """A copied tensor reads the values of the first: they are the same."""
        return self


def note_reads(ledger: Ledger, tensor: Tensor) -> None:
    """Note in the ledger when the values of this tensor, which is our own, are read."""
    for name in ("tolist", "numpy"):
        setattr(tensor, name, _Reading(ledger, tensor, name))
