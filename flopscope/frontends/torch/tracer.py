"""The dispatch mode that sees every op of a model and answers it from shapes alone.

One call of an op goes through these steps:

1. `Tracer._read` finds the cell of each tensor operand, and builds the memo key from types and plain arguments.
2. An operand whose memory was written through another tensor is renewed, so that the graph's edges are true.
3. If every operand holds true, small data, the op runs for real on the CPU (`_run`): index arithmetic, masks, positions.
4. Otherwise the memo answers, or the op is inferred once on throw-away meta tensors and remembered (`_infer`).
5. The op is written into the graph.

Results are meta tensors that share no memory with anything, also those of views: which tensors share memory in the model is known from
their cells. A call that needs the values of a tensor that has none raises `DataNeeded`, which is not an ``Exception``, so that no
``except Exception`` of a model can swallow it. The caller then traces again with ``execute=True``: every op runs for real on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from flopscope.frontends.torch import infer
from flopscope.frontends.torch.cells import CELL, AdoptedCell, Cell, meta_like, private_copy, type_of
from flopscope.frontends.torch.census import Inventory
from flopscope.frontends.torch.memo import Entry, current_memo, describe, entry_of, shared_memory
from flopscope.frontends.torch.schema import Schema, flat_tensors, indexes_by_mask, map_tensors, mutated_operands, schema_of
from flopscope.graph import Effect, Op, Signature, TensorType
from flopscope.graph import Tensor as Value

META = torch.device("meta")
CPU = torch.device("cpu")
MOST_CONCRETE_ELEMENTS = 2**17
"""Results larger than this are not computed for real: a causal mask over a long context would take gigabytes."""

_MOST_READ_OF_A_WEIGHT = 16
_OPEN, _CLOSE = object(), object()
_detach = Tensor.detach
_in_inference_mode = torch.is_inference_mode_enabled
_EMBEDDING = torch.ops.aten.embedding.default
_ALIGNED = torch.ops.aten._nested_tensor_from_mask_left_aligned.default
_PENDING = Signature("flopscope::pending", "pending", {}, ())

DataOf = Callable[[Tensor, bool], "Tensor | None"]
"""The data that may be used in place of a weight (told whether it is a parameter), or ``None`` where only its shape is to be known."""


class DataNeeded(BaseException):
    """The model reads the values of a tensor that has only a shape."""

    def __init__(self, target: str, scope: str) -> None:
        super().__init__(target, scope)
        self.target = target
        self.scope = scope


class Tracer(TorchDispatchMode):
    """Records the ops of one call of a model. Use it once."""

    def __init__(
        self,
        inventory: Inventory,
        data_of_weight: DataOf,
        *,
        execute: bool = False,
        most_concrete: int = MOST_CONCRETE_ELEMENTS,
        readable: Collection[int] = (),
    ) -> None:
        """Know the weights of a model by its inventory. Parameters that are met outside it are added to it.

        The values of the weights whose ids are ``readable`` may be read.
        """
        super().__init__()
        self.ops: list[Op] = []
        self.scope = ""
        self.execute = execute
        self.data_dependent: list[tuple[str, str]] = []
        self.weights: dict[str, Value] = {}
        """The values of the weights that ops read, by name."""
        self._inventory = inventory
        self._data_of_weight = data_of_weight
        self._most_concrete = most_concrete
        self._readable = readable
        self._memo = current_memo()
        self._entries = self._memo.entries
        self._adopted: dict[int, AdoptedCell] = {}
        self._next_id = 0
        self._announces_writes = execute
        """Whether torch may have noted writes to tensors of the user, which no op did."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would cost a microsecond per op, and nothing is compiled in here

    def close(self) -> None:
        """Let go of every tensor that was met, as it was found."""
        if self._announces_writes:
            for cell in self._adopted.values():
                cell.restore_version()
        self._adopted.clear()

    # -- cells ----------------------------------------------------------------------------------------------

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
        cell = Cell(self, type, Value(identity, type, "result", producer), root)
        tensor._flopscope_cell = cell  # type: ignore[attr-defined]
        return cell

    # -- dispatch -------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Answer one call of an op."""
        operands: list[Cell] = []
        key: list[Any] = [func]
        self._read(args, key, operands)
        if kwargs:
            for name, item in kwargs.items():
                key.append(name)
                self._read((item,), key, operands)
        else:
            kwargs = {}
        if func is _ALIGNED:
            return False  # "the mask cannot be used to leave out the padding": so the model goes the dense way, as masks are counted
        if func is _EMBEDDING:
            self._check_indices(args, operands)
        symbolic = False
        for cell in operands:
            root = cell.above or cell
            if cell.seen is not root.written:
                self._renew(cell)
            if not root.concrete:
                symbolic = True
        frozen = tuple(key)
        if self.execute:
            return self._run(func, args, kwargs, frozen, operands)
        entry = self._entries.get(frozen)
        if entry is None:
            entry = self._infer(func, args, kwargs, frozen, operands, symbolic)
        if entry is None or (not symbolic and entry.elements <= self._most_concrete):
            return self._run(func, args, kwargs, frozen, operands)
        index = len(self.ops)
        identity = self._next_id
        if entry.is_simple:  # one new tensor
            self._next_id = identity + 1
            signature = entry.signature
            value = Value(identity, signature.outputs[0], "result", index)
            source = entry.sources[0]
            above: Cell | None = None
            if source is None:
                template = entry.templates[0] if _in_inference_mode() else entry.normal_templates[0]
            else:  # a view is a normal tensor if its base is one
                above = operands[source].root
                base = args[0] if isinstance(args[0], Tensor) else flat_tensors((*args, *kwargs.values()))[source]
                template = entry.templates[0] if base.is_inference() else entry.normal_templates[0]
            tensor = _detach(template)  # type: ignore[arg-type]
            tensor._flopscope_cell = Cell(self, value.type, value, above)  # type: ignore[attr-defined]
            self.ops.append(Op(index, signature, tuple([cell.value for cell in operands]), (value,), self.scope))
            return tensor
        if entry.overwrites_first:
            self._next_id = identity + 1
            value = Value(identity, entry.signature.outputs[0], "result", index)
            op = Op(index, entry.signature, tuple([cell.value for cell in operands]), (value,), self.scope)
            self.ops.append(op)
            first = operands[0]
            first.value = value
            root = first.above or first
            root.written = first.seen = value
            root.concrete = False
            if type(root) is AdoptedCell:
                self._announces_writes = True
            return args[0]
        return self._answer(entry, args, kwargs, operands)

    def _read(self, items: Any, key: list[Any], operands: list[Cell]) -> None:
        for item in items:
            kind = type(item)
            if kind is Tensor or kind is Parameter:
                cell = getattr(item, "_flopscope_cell", None)
                if cell is None or cell.owner is not self:
                    cell = self._adopted.get(id(item))
                    if cell is None:
                        cell = self._meet(item)
                operands.append(cell)
                key.append(cell.type)
            elif kind is int or item is None:
                key.append(item)
            elif kind is list or kind is tuple:
                if item and type(item[0]) is int and float not in map(type, item):
                    key.append(tuple(item))
                else:
                    key.append(_OPEN)
                    self._read(item, key, operands)
                    key.append(_CLOSE)
            elif kind is float or kind is bool or kind is complex:
                key.append((kind, item))  # because 1 == 1.0 == True == 1+0j
            elif isinstance(item, Tensor):
                cell = self.cell_of(item)
                operands.append(cell)
                key.append(cell.type)
            else:
                key.append(item)

    def _check_indices(self, args: Sequence[Any], operands: list[Cell]) -> None:
        """Refuse positions beyond a table, as a real run does: a sequence that the model cannot take has no cost."""
        table, cell = operands[0].type, operands[1]
        if not cell.root.concrete or cell.type.elements == 0:
            return
        adopted = self._adopted.get(id(args[1]))
        data = args[1] if adopted is None or adopted.real is None else adopted.real
        largest = int(data.max())
        if largest >= table.shape[0]:
            raise IndexError(f"index {largest} is looked up in a table of {table.shape[0]} rows")

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
        value = self.new_value(cell.type, producer=len(self.ops))
        self.ops.append(Op(len(self.ops), signature, (cell.value, written), (value,), self.scope))
        cell.value = value
        cell.seen = written

    def _replace(self, op: Op, cells: Sequence[Cell], *, written: bool) -> None:
        """The op changed these tensors in place, or passed them through: each gets a new value."""
        for cell in cells:
            value = self.new_value(cell.type, producer=op.index)
            op.outputs = (*op.outputs, value)
            cell.value = value
            if written:
                cell.root.written = cell.seen = value
                self._announces_writes |= isinstance(cell.root, AdoptedCell)

    # -- answering from shapes --------------------------------------------------------------------------------

    def _answer(self, entry: Entry, args: Sequence[Any], kwargs: Mapping[str, Any], operands: list[Cell]) -> Any:
        """The answer to calls that return several tensors, or write to their operands, or return them."""
        signature = entry.signature
        op = Op(len(self.ops), signature, tuple([cell.value for cell in operands]), (), self.scope)
        self.ops.append(op)
        if entry.returned is None:
            types = iter(signature.outputs)
            results: list[Any] = []
            tensors = flat_tensors((*args, *kwargs.values()))
            for position, source in enumerate(entry.sources):
                root = None if source is None else operands[source].root
                is_inference = _in_inference_mode() if source is None else tensors[source].is_inference()
                template = (entry.templates if is_inference else entry.normal_templates)[position]
                tensor = None if template is None else _detach(template)
                results.append(tensor)
                if tensor is not None:
                    cell = self._make_cell(tensor, next(types), root, op.index)
                    op.outputs = (*op.outputs, cell.value)
        else:
            tensors = flat_tensors((*args, *kwargs.values()))
            results = [tensors[position] for position in entry.returned]
        if entry.reshaped:
            self._reshape_in_place(entry, flat_tensors((*args, *kwargs.values())), operands)
        changed = [operands[position] for position in entry.changed]
        for cell in changed if entry.writes else ():
            cell.root.concrete = False
        self._replace(op, changed, written=entry.writes)
        if entry.container is None:
            return results[0] if results else None
        return entry.container(results)

    def _reshape_in_place(self, entry: Entry, tensors: list[Tensor], operands: list[Cell]) -> None:
        """The op changed the shape of operands: ``t_``, or a result that is written into a tensor of another size (``out=``)."""
        for position, template in entry.reshaped:
            operands[position].type = type_of(template)
            adopted = self._adopted.get(id(tensors[position]))
            if adopted is None or adopted.value.role == "input":  # never a tensor of the user
                with torch.inference_mode(tensors[position].is_inference()):
                    tensors[position].set_(meta_like(template))  # type: ignore[call-overload]

    # -- inferring once ---------------------------------------------------------------------------------------

    def _infer(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: Hashable, operands: list[Cell], symbolic: bool
    ) -> Entry | None:
        """Infer what an op returns, and remember it. ``None`` where only a real run can tell (and every operand has data)."""
        schema = schema_of(func)
        tensors = flat_tensors((*args, *kwargs.values()))
        if schema.reads_values or indexes_by_mask(schema, args):
            self._need_data(schema, operands, tensors, symbolic)
            return None
        twins: dict[int, Tensor] = {}

        def twin_of(tensor: Tensor) -> Tensor:
            twin = twins.get(id(tensor))
            if twin is None:
                twin = twins[id(tensor)] = meta_like(tensor)
            return twin

        twin_args = map_tensors(args, twin_of, META)
        twin_kwargs = {name: map_tensors(item, twin_of, META) for name, item in kwargs.items()}
        if not operands and "device" in schema.names:
            twin_kwargs["device"] = META
        try:
            result = infer.infer(func, twin_args, twin_kwargs)
        except infer.NoShapeError:
            self._need_data(schema, operands, tensors, symbolic)
            return None
        if not infer.is_made_of_tensors(result):
            self._need_data(schema, operands, tensors, symbolic)
            return None
        types = [cell.type for cell in operands]
        entry = entry_of(schema, args, kwargs, result, types, tensors, [twin_of(tensor) for tensor in tensors])
        self._entries[key] = entry
        return entry

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

    # -- running for real -------------------------------------------------------------------------------------

    def _run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: Hashable, operands: list[Cell]) -> Any:
        """Run an op on true data on the CPU, and record it."""
        schema = schema_of(func)
        tensors = flat_tensors((*args, *kwargs.values()))
        written = mutated_operands(schema, args, kwargs)
        datas = self._datas_for(tensors, operands, written)
        by_tensor = {id(tensor): data for tensor, data in zip(tensors, datas, strict=True)}
        real_args = map_tensors(args, lambda tensor: by_tensor[id(tensor)], CPU)
        real_kwargs = {name: map_tensors(item, lambda tensor: by_tensor[id(tensor)], CPU) for name, item in kwargs.items()}
        result = func(*real_args, **real_kwargs)
        from_input = any(cell.root.from_input for cell in operands)
        if (schema.reads_values or indexes_by_mask(schema, args)) and (self.execute or from_input) and operands:
            self.data_dependent.append((schema.target, self.scope))
        op = Op(len(self.ops), _PENDING, tuple([cell.value for cell in operands]), (), self.scope)
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
