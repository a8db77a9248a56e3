"""Running ops for real on the CPU, on true data."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from flopscope.frontends.torch.cells import AdoptedCell, Cell, private_copy, type_of
from flopscope.frontends.torch.ledger import PENDING, Ledger
from flopscope.frontends.torch.memo import describe, shared_memory
from flopscope.frontends.torch.readings import note_reads
from flopscope.frontends.torch.schema import Schema, flat_tensors, indexes_by_mask, map_tensors, mutated_operands, schema_of
from flopscope.frontends.torch.special import QUERIES
from flopscope.graph import Effect, Op, Signature

CPU = torch.device("cpu")
_MOST_READ_OF_A_WEIGHT = 16


class DataNeeded(BaseException):
    """The model reads the values of a tensor that has only a shape."""

    def __init__(self, target: str, scope: str) -> None:
        super().__init__(target, scope)
        self.target = target
        self.scope = scope


@contextmanager
def _normal_tensors() -> Iterator[None]:
    """Leave inference mode, and nothing else, for a moment."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


class RealRuns(Ledger):
    """A ledger that can run an op for real."""

    def _need_data(self, schema: Schema, operands: list[Cell], tensors: list[Tensor], symbolic: bool) -> None:
        """The op reads values. Small weights may be read (a learned temperature, say); other tensors have none."""
        if not symbolic:
            return
        for cell, tensor in zip(operands, tensors, strict=True):
            if cell.root.concrete:
                continue
            adopted = self._adopted.get(id(tensor))
            is_readable = adopted is not None and adopted.written is None and tensor.device.type != "meta"
            if adopted is None or not is_readable or tensor.numel() > _MOST_READ_OF_A_WEIGHT:
                raise DataNeeded(schema.target, self.scope)
            adopted.real = private_copy(tensor)
            adopted.concrete = True

    def _run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: Hashable, operands: list[Cell]) -> Any:
        """Run an op on true data on the CPU, and record it."""
        if func in QUERIES:
            return QUERIES[func](self, func, args, kwargs)
        schema = schema_of(func)
        tensors = flat_tensors((*args, *kwargs.values()))
        written = mutated_operands(schema, args, kwargs)
        datas = self._datas_for(tensors, operands, written)
        by_tensor = {id(tensor): data for tensor, data in zip(tensors, datas, strict=True)}
        real_args = map_tensors(args, lambda tensor: by_tensor[id(tensor)], CPU)
        real_kwargs = {name: map_tensors(item, lambda tensor: by_tensor[id(tensor)], CPU) for name, item in kwargs.items()}
        # A model may keep what it makes (in a cache, say), and use it later in training, which inference tensors cannot take part in.
        with _normal_tensors() if not any(data.is_inference() for data in datas) else nullcontext():
            result = func(*real_args, **real_kwargs)
        from_input = any(cell.root.from_input for cell in operands)
        if (schema.reads_values or indexes_by_mask(schema, args)) and (self.execute or from_input) and operands:
            self.data_dependent.append((schema.target, self.scope))
        op = Op(len(self.ops), PENDING, tuple([cell.value for cell in operands]), (), self.scope)
        self.ops.append(op)
        returned: list[int] = []
        sources: list[int | None] = []
        for tensor in flat_tensors(result):
            source = shared_memory(tensor, datas)
            sources.append(source)
            if source is not None and tensor is datas[source]:
                returned.append(source)
                continue
            cell = self._make_cell(tensor, type_of(tensor), None if source is None else operands[source].root, op.index)
            cell.root.concrete = True
            cell.root.from_input |= from_input
            if from_input and not self.execute:
                note_reads(self, tensor)
            op.outputs = (*op.outputs, cell.value)
        for position in dict.fromkeys((*written, *returned)):
            operands[position].type = type_of(datas[position])
        self._replace(op, [operands[position] for position in dict.fromkeys((*written, *returned))], written=bool(written))
        effect: Effect = (
            "view" if schema.only_reshapes else "inplace" if written else "view" if sources and None not in sources else "fresh"
        )
        op.signature = self._signature_of_run(schema, args, kwargs, key, op, effect)
        if not returned:
            return result
        mine = {id(data): tensor for data, tensor in zip(datas, tensors, strict=True)}
        return map_tensors(result, lambda tensor: mine.get(id(tensor), tensor), CPU)

    def _datas_for(self, tensors: list[Tensor], operands: list[Cell], written: Sequence[int]) -> list[Tensor]:
        """The data to run an op on. What it writes to must not be memory of the user."""
        datas = []
        for position, (tensor, cell) in enumerate(zip(tensors, operands, strict=True)):
            root = cell.root
            borrowed = position in written and isinstance(root, AdoptedCell) and root.borrows
            if borrowed and isinstance(cell, AdoptedCell):
                cell.real = private_copy(cell.tensor)
            adopted = self._adopted.get(id(tensor))
            data = tensor if adopted is None or adopted.real is None else adopted.real
            datas.append(data.clone() if borrowed and not isinstance(cell, AdoptedCell) else data)
        return datas

    def _signature_of_run(
        self, schema: Schema, args: Sequence[Any], kwargs: Mapping[str, Any], key: Hashable, op: Op, effect: Effect
    ) -> Signature:
        outputs = tuple(value.type for value in op.outputs)
        full_key = (key, effect, outputs)
        signature = self._memo.signatures.get(full_key)
        if signature is None:
            signature = describe(schema, args, kwargs, [value.type for value in op.inputs], outputs, effect)
            self._memo.signatures[full_key] = signature
        return signature
