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

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from flopscope.frontends.torch import infer
from flopscope.frontends.torch.cells import AdoptedCell, Cell, meta_like, type_of
from flopscope.frontends.torch.census import Inventory
from flopscope.frontends.torch.higher_order import Weigh, call_higher_order
from flopscope.frontends.torch.ledger import DataOf
from flopscope.frontends.torch.memo import Entry, entry_of
from flopscope.frontends.torch.packed import call_packed
from flopscope.frontends.torch.real import DataNeeded, RealRuns
from flopscope.frontends.torch.schema import flat_tensors, indexes_by_mask, map_tensors, schema_of
from flopscope.frontends.torch.script_objects import key_of
from flopscope.frontends.torch.sparse import is_sparse, knows_result
from flopscope.frontends.torch.special import PASS, SPECIAL
from flopscope.graph import Op
from flopscope.graph import Tensor as Value

__all__ = ["MOST_CONCRETE_ELEMENTS", "DataNeeded", "Tracer"]

META = torch.device("meta")
MOST_CONCRETE_ELEMENTS = 2**17
"""Results larger than this are not computed for real: a causal mask over a long context would take gigabytes."""

OPEN, CLOSE = object(), object()
_detach = Tensor.detach
_in_inference_mode = torch.is_inference_mode_enabled
_NO_DISPATCH = torch._C._disabled_torch_dispatch_impl
_EMBEDDING = torch.ops.aten.embedding.default
_ALIGNED = torch.ops.aten._nested_tensor_from_mask_left_aligned.default


class Tracer(RealRuns, TorchDispatchMode):
    """Records the ops of one call of a model. Use it once."""

    supports_higher_order_operators = True

    def __init__(
        self,
        inventory: Inventory,
        data_of_weight: DataOf,
        *,
        execute: bool = False,
        most_concrete: int = MOST_CONCRETE_ELEMENTS,
        readable: Collection[int] = (),
        weigh: Weigh | None = None,
    ) -> None:
        """Know the weights of a model by its inventory. Parameters that are met outside it are added to it.

        The values of the weights whose ids are ``readable`` may be read. Of two branches, the one that ``weigh`` finds heavier is kept.
        """
        TorchDispatchMode.__init__(self)
        RealRuns.__init__(self, inventory, data_of_weight, execute=execute, most_concrete=most_concrete, readable=readable)
        self.weigh = weigh

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would cost a microsecond per op, and nothing is compiled in here

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Answer one call of an op."""
        if types or func.__class__ is not OpOverload:
            answer = self._unusual(func, types, args, kwargs or {})
            if answer is not PASS:
                return answer
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
            special = SPECIAL.get(func)
            if special is not None and (answer := special(self, func, args, kwargs)) is not PASS:
                return answer
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
                value.storage = above.storage
                base = args[0] if isinstance(args[0], Tensor) else flat_tensors((*args, *kwargs.values()))[source]
                template = entry.templates[0] if base.is_inference() else entry.normal_templates[0]
            tensor = self.copy_of(template)  # type: ignore[arg-type]
            tensor._flopscope_cell = Cell(self, value.type, value, above)  # type: ignore[attr-defined]
            self.ops.append(Op(index, signature, tuple([cell.value for cell in operands]), (value,), self.scope))
            return tensor
        if entry.overwrites_first:
            return self._overwrite(entry, args[0], operands)
        return self._answer(entry, args, kwargs, operands)

    def _overwrite(self, entry: Entry, first: Any, operands: list[Cell]) -> Any:
        """The answer to calls that overwrite their first argument, return it, and do nothing else."""
        cell = operands[0]
        value = Value(self._next_id, entry.signature.outputs[0], "result", len(self.ops), None, cell.storage)
        self._next_id += 1
        self.ops.append(Op(len(self.ops), entry.signature, tuple([cell.value for cell in operands]), (value,), self.scope))
        cell.value = value
        root = cell.above or cell
        root.written = cell.seen = value
        root.concrete = False
        if type(root) is AdoptedCell:
            self._announces_writes = True
        return first

    def _unusual(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The answer to a call that is not one of a plain op on plain tensors, or `PASS` if it is one after all."""
        if isinstance(func, HigherOrderOperator):
            return call_higher_order(self, func, args, kwargs)
        if any(kind.__torch_dispatch__ is not _NO_DISPATCH for kind in types):
            return NotImplemented  # tensors made of tensors: their class says what ops run inside
        return PASS if func.__class__ is OpOverload else call_packed(self, func, args, kwargs)

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
                    key.append(OPEN)
                    self._read(item, key, operands)
                    key.append(CLOSE)
            elif kind is float or kind is bool or kind is complex:
                key.append((kind, item))  # because 1 == 1.0 == True == 1+0j
            elif isinstance(item, Tensor):
                cell = self.cell_of(item)
                operands.append(cell)
                key.append(cell.type)
            elif isinstance(item, torch.ScriptObject):
                key.append(key_of(item))
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
                tensor = None if template is None else self.copy_of(template)
                results.append(tensor)
                if tensor is not None:
                    cell = self._make_cell(tensor, next(types), root, op.index)
                    op.outputs = (*op.outputs, cell.value)
            for position, size in entry.sizes:
                results[position] = size
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
        if schema.reads_values or indexes_by_mask(schema, args) or not knows_result(func, operands):
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
        if not infer.is_made_of_tensors(result) or is_sparse(result):
            self._need_data(schema, operands, tensors, symbolic)
            return None
        types = [cell.type for cell in operands]
        entry = entry_of(schema, args, kwargs, result, types, tensors, [twin_of(tensor) for tensor in tensors])
        self._entries[key] = entry
        return entry
