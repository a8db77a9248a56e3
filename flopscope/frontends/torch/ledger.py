"""What a trace has written down: its ops, and what it knows about every tensor that it met."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from flopscope.frontends.torch.cells import CELL, AdoptedCell, Cell, private_copy, type_of
from flopscope.frontends.torch.census import Inventory
from flopscope.frontends.torch.memo import current_memo
from flopscope.graph import Op, Signature, TensorType
from flopscope.graph import Tensor as Value

DataOf = Callable[[Tensor, bool], "Tensor | None"]
"""The data that may be used in place of a weight (told whether it is a parameter), or ``None`` where only its shape is to be known."""


PENDING = Signature("flopscope::pending", "pending", {}, ())
"""The signature of an op that is not known yet."""


class _AnyData(TorchDispatchMode):
    """Lets ``tensor.data = data`` change the device of a tensor, which torch forbids."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return True if func is torch.ops.aten._has_compatible_shallow_copy_type.default else func(*args, **(kwargs or {}))


class Ledger:
    """The ops of one call of a model, and the cells of its tensors."""

    copy_of: Callable[[Tensor], Tensor] = staticmethod(Tensor.detach)
    """A new result like a template."""

    def __init__(
        self, inventory: Inventory, data_of_weight: DataOf, *, execute: bool, most_concrete: int, readable: Collection[int]
    ) -> None:
        """Know the weights of a model by its inventory. Parameters that are met outside it are added to it."""
        self.ops: list[Op] = []
        self.deaths: dict[int, int] = {}
        """By the id of the value that memory was made for: the index of the op before which nothing held it any more."""
        self.scope = ""
        self.execute = execute
        self.data_dependent: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.weights: dict[str, Value] = {}
        """The values of the weights that ops read, by name."""
        self._inventory = inventory
        self._data_of_weight = data_of_weight
        self._most_concrete = most_concrete
        self._readable = readable
        self._memo = current_memo()
        self._entries = self._memo.entries
        self._adopted: dict[int, AdoptedCell] = {}
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        """What tensors of the user held before the model gave them other data (``p.data = ...``)."""
        self._packed: dict[int, tuple[Value, ...]] = {}
        self._next_id = 0
        self._announces_writes = execute
        """Whether torch may have noted writes to tensors of the user, which no op did."""

    def close(self) -> None:
        """Let go of every tensor that was met, as it was found."""
        self.deaths = {}  # what dies from now on was alive at the end
        if self._announces_writes:
            for cell in self._adopted.values():
                cell.restore_version()
        self._adopted.clear()
        if not self._held:
            return
        with _disable_current_modes(), torch.inference_mode(), _AnyData():  # outside inference mode, torch does not ask the mode
            for tensor, data in self._held.values():
                tensor.data = data

    def new_value(self, type: TensorType, **facts: Any) -> Value:
        """A new value of the graph."""
        self._next_id += 1
        return Value(self._next_id - 1, type, **facts)

    def adopt(self, tensor: Tensor, value: Value, real: Tensor | None) -> AdoptedCell:
        """Know a tensor by its identity. ``real`` may be read and written in its place; without it only the shape is known."""
        cell = self._adopted[id(tensor)] = AdoptedCell(self, tensor, value, real)
        return cell

    def cell_of(self, tensor: Tensor) -> Cell:
        """The cell of any tensor that an op can meet."""
        cell: Cell | None = getattr(tensor, CELL, None)
        if cell is not None and cell.owner is self:
            return cell
        cell = self._adopted.get(id(tensor))
        return self._meet(tensor) if cell is None else cell

    def known(self, tensor: Tensor) -> Cell | None:
        """The cell of a tensor of the user, if an op has met it."""
        return self._adopted.get(id(tensor))

    def value_of(self, tensor: Tensor) -> Value:
        """What a tensor shows now."""
        cell = self.cell_of(tensor)
        if cell.seen is not cell.root.written:
            self._renew(cell)
        return cell.value

    def _meet(self, tensor: Tensor) -> Cell:
        """A tensor that is met for the first time: a parameter, a buffer, or a constant that the model holds elsewhere."""
        known = self._inventory.weights.get(id(tensor))
        if known is None and isinstance(tensor, Parameter):
            known = self._inventory.add_stranger(tensor)
        if known is not None:
            name, _, is_parameter = known
            identity = self._next_id
            self._next_id = identity + 1
            value = Value(identity, type_of(tensor), "parameter" if is_parameter else "buffer", None, name)
            self.weights[name] = value
            if id(tensor) in self._readable:
                real: Tensor | None = private_copy(tensor)
            else:
                real = None if is_parameter and not self.execute else self._data_of_weight(tensor, is_parameter)
            cell = self._adopted[id(tensor)] = AdoptedCell(self, tensor, value, real)
            return cell
        has_data = tensor.device.type != "meta" and (self.execute or tensor.numel() <= self._most_concrete)
        return self.adopt(tensor, self.new_value(type_of(tensor), role="constant"), private_copy(tensor) if has_data else None)

    def _make_cell(self, tensor: Tensor, type: TensorType, root: Cell | None, producer: int) -> Cell:
        """The cell of a new result."""
        identity = self._next_id
        self._next_id = identity + 1
        cell = Cell(self, type, Value(identity, type, "result", producer, None, None if root is None else root.storage), root)
        tensor._flopscope_cell = cell  # type: ignore[attr-defined]
        return cell

    def _renew(self, cell: Cell) -> None:
        """The memory under a tensor was written through another one: give it a new value that depends on the write."""
        written = cell.root.written
        assert written is not None
        key = ("alias", cell.type, written.type)
        signature = self._memo.signatures.get(key)
        if signature is None:
            arguments = {"self": cell.type, "written": written.type}
            signature = Signature("flopscope::alias", "alias", arguments, (cell.type,), "view")
            self._memo.signatures[key] = signature
        value = self.new_value(cell.type, producer=len(self.ops), storage=cell.storage)
        self.ops.append(Op(len(self.ops), signature, (cell.value, written), (value,), self.scope))
        cell.value = value
        cell.seen = written

    def _replace(self, op: Op, cells: Sequence[Cell], *, written: bool) -> None:
        """The op changed these tensors in place, or passed them through: each gets a new value."""
        for cell in cells:
            value = self.new_value(cell.type, producer=op.index, storage=cell.storage)
            op.outputs = (*op.outputs, value)
            cell.value = value
            if written:
                cell.root.written = cell.seen = value
                self._announces_writes |= isinstance(cell.root, AdoptedCell)

    def note(self, text: str) -> None:
        """Remember what a reader of the cost must know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def write(self, inputs: Sequence[Value], results: Sequence[Tensor], signature: Signature = PENDING) -> Op:
        """Write down an op with new tensors as its results. Its signature may follow."""
        op = Op(len(self.ops), signature, tuple(inputs), (), self.scope)
        self.ops.append(op)
        op.outputs = tuple(self._make_cell(tensor, type_of(tensor), None, op.index).value for tensor in results)
        return op

    def replace_last(self, count: int, target: str, kind: str, tensors: dict[str, Tensor], others: dict[str, Any]) -> None:
        """Make the results of the last ops, one each, the results of one op with these arguments."""
        made = self.ops[-count:]
        del self.ops[-count:]
        inputs = [self.value_of(tensor) for tensor in tensors.values()]
        outputs = tuple(value for op in made for value in op.outputs)
        arguments = {**{name: value.type for name, value in zip(tensors, inputs, strict=True)}, **others}
        key = (target, *arguments.items(), *(value.type for value in outputs))
        signature = self._memo.signatures.get(key)
        if signature is None:
            signature = Signature(target, kind, arguments, tuple(value.type for value in outputs))
            self._memo.signatures[key] = signature
        for value in outputs:
            value.producer = len(self.ops)
        self.ops.append(Op(len(self.ops), signature, tuple(inputs), outputs, self.scope))

    def packed_values(self, packed: Any) -> tuple[Value, ...]:
        """The weight and the bias in a packed object of a quantised module, as parameters of the model."""
        known = self._packed.get(hash(packed))
        if known is None:
            known = self._packed[hash(packed)] = tuple(
                self.new_value(type, role="parameter", name=name) for name, type in self._inventory.packed.get(hash(packed), ())
            )
            self.weights.update((value.name or "", value) for value in known)
        return known

    def take_data(self, target: Tensor, source: Tensor) -> None:
        """``target.data = source`` is about to happen: keep what it holds, and know it by the value of the source."""
        cell, other = self.cell_of(target), self.cell_of(source)
        if isinstance(cell, AdoptedCell):
            with _disable_current_modes(), torch.inference_mode(target.is_inference()):
                self._held.setdefault(id(target), (target, target.detach()))
            cell.real = self.data_of(source)
            cell.concrete = cell.real is not None
        cell.type = other.type
        cell.value = self.value_of(source)
        cell.written = cell.seen = cell.value

    def data_of(self, tensor: Tensor) -> Tensor | None:
        """The true data of a tensor, or ``None`` where only its shape is known."""
        if not self.cell_of(tensor).root.concrete:
            return None
        adopted = self._adopted.get(id(tensor))
        return tensor if adopted is None or adopted.real is None else adopted.real
