"""The walk over the nodes of a graph: each becomes ops of the traced graph, and its outputs become known by type."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flopscope.cost import Cost
from flopscope.errors import InputError, RuleError
from flopscope.frontends.onnx import (
    control,
    flex_attention,
    sequences,
    shapes_classic,
    shapes_common,
    shapes_layers,
    shapes_standard,
)
from flopscope.frontends.onnx.attributes import attributes_of
from flopscope.frontends.onnx.blocks import Block, Pending
from flopscope.frontends.onnx.checks import check_size
from flopscope.frontends.onnx.constants import Constants, data_of
from flopscope.frontends.onnx.dtypes import UNDEFINED
from flopscope.frontends.onnx.folding import fold
from flopscope.frontends.onnx.inference import Typed, infer
from flopscope.frontends.onnx.ops import lowering_of
from flopscope.frontends.onnx.order import in_order, is_sorted
from flopscope.frontends.onnx.scopes import Scopes
from flopscope.frontends.onnx.shapes import bound_of, own_inference
from flopscope.frontends.onnx.values import Array, Call, Piece, Slot, Value
from flopscope.graph import SHAPE_UNKNOWN, Signature, Tensor, TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.inputs import Inputs

INFERENCE = (shapes_classic, shapes_common, shapes_layers, shapes_standard)
"""The families of inference, whose import fills the table."""
Env = MutableMapping[str, Value]
Price = Callable[[Signature], Cost | None]
"""What a call costs, by the rules, which lie above the front ends."""
_DEEPEST = 120
_WINDOWED = ("Conv", "MaxPool", "AveragePool", "LpPool", "ConvTranspose", "QLinearConv", "ConvInteger")


@dataclass(slots=True)
class Context:
    """What holds for the nodes of one graph or function."""

    opsets: Mapping[str, int]
    declared: Mapping[str, Any]
    """What the file says of the types of values, by name."""
    scope: str = ""
    attributes: dict[str, Any] | None = None
    """Inside a local function, the attributes of its call."""
    depth: int = 0

    def opset(self, domain: str) -> int:
        """The version of a domain's ops; 1 where the file does not say."""
        return self.opsets.get("" if domain == "ai.onnx" else domain, 1)


@dataclass(slots=True, eq=False)
class _Known:
    """What became of a call, for all calls that are equal."""

    outputs: list[tuple[str, TensorType | None, Array | None]]
    pieces: list[tuple[Signature, tuple[int, ...], tuple[int, ...]]]
    between: dict[int, TensorType]
    bounded: bool = False
    local: bool = False
    """Whether it holds for this model only: what the file declares, or the sizes that were chosen, went into it."""


_memo: dict[Any, _Known] = {}
_MOST_KNOWN = 100_000


def clear_memo() -> None:
    """Forget what was learned of calls."""
    _memo.clear()


@dataclass(slots=True)
class Facts:
    """What a reader of the numbers must know, collected during the walk."""

    notes: dict[str, None] = field(default_factory=dict)
    data_dependent: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Ops that are not counted because a shape is not known."""
    repeated: list[str] = field(default_factory=list)
    """Constants that the file holds twice, with different values."""
    misfits: list[str] = field(default_factory=list)
    """Calls that the sizes which were chosen here do not fit."""


class Walker:
    """Walks graphs, and keeps what was learned on the way."""

    def __init__(self, model: onnx.ModelProto, inputs: Inputs, branch: control.Branch, price: Price) -> None:
        self.inputs = inputs
        self.price = price
        self.branch = branch
        self.scopes = Scopes()
        self.constants = Constants(self)
        self.facts = Facts()
        self.functions = control.Functions(model)
        self.values: Mapping[str, Value] = {}
        """The values of the main graph, once it was walked."""
        self._ids = 0

    def tensor(self, type: TensorType, **facts: Any) -> Tensor:
        """A new value of the traced graph."""
        self._ids += 1
        return Tensor(self._ids, type, **facts)

    def walk(self, nodes: Sequence[onnx.NodeProto], env: Env, block: Block, context: Context) -> None:
        """Walk nodes in their order.

        Raises:
            InputError: a node reads what nobody made, or its inputs do not fit; the message names it.
        """
        if context.depth > _DEEPEST:
            raise InputError(f"its graphs or functions are nested more than {_DEEPEST} levels deep")
        if not is_sorted(nodes, env):
            nodes = in_order(nodes, env)
            self.facts.notes["nodes of the file are out of order, against ONNX's rules; they were sorted"] = None
        for node in nodes:
            try:
                self._node(node, env, block, context)
            except _LocatedError:
                raise
            except (InputError, RuleError) as error:
                raise _LocatedError(f"{described(node)}: {error}") from error

    def _node(self, node: onnx.NodeProto, env: Env, block: Block, context: Context) -> None:
        values = [_read(name, env) for name in node.input]
        for name in node.output:
            if name and name in (env.maps[0] if isinstance(env, ChainMap) else env) and not _is_constant(node):
                raise InputError(f"the value {name!r} is made a second time")
        if _is_constant(node):
            self._constant(node, env, context)
            return
        handler = control.handler_of(node, self.functions) or sequences.handler_of(node) or flex_attention.handler_of(node)
        results = handler(self, node, values, env, block, context) if handler is not None else self.call(node, values, block, context)
        for name, value in zip(node.output, results, strict=False):
            if name:
                env[name] = value

    def _constant(self, node: onnx.NodeProto, env: Env, context: Context) -> None:
        value = self.constants.of_node(node, attributes_of(node, context.attributes))
        before = env.get(node.output[0])  # some exporters write a constant once for every reader
        if before is not None and before.key != value.key and not isinstance(env, ChainMap):
            self.facts.repeated.append(node.output[0])
        env[node.output[0]] = value

    # -- one call -------------------------------------------------------------------------------------------------------------

    def call(self, node: onnx.NodeProto, values: Sequence[Value | None], block: Block, context: Context) -> list[Value]:
        """The outputs of a node that computes, whose ops go into a block."""
        wanted = tuple(map(bool, node.output))
        attributes = tuple(attribute.SerializeToString() for attribute in node.attribute)
        outer = repr(context.attributes) if context.attributes and any(a.ref_attr_name for a in node.attribute) else ""
        opset = context.opset(node.domain)
        key = (
            node.op_type,
            node.domain,
            opset,
            attributes,
            outer,
            tuple([None if value is None else value.key for value in values]),
            wanted,
        )
        known = _memo.get(key)
        if known is None:
            known = self._learned(node, values, attributes_of(node, context.attributes), opset, context)
            if not known.local:
                if len(_memo) >= _MOST_KNOWN:
                    _memo.clear()
                _memo[key] = known
        return self._emit(node, values, known, block, context)

    def _learned(
        self, node: onnx.NodeProto, values: Sequence[Value | None], attributes: dict[str, Any], opset: int, context: Context
    ) -> _Known:
        """What becomes of a call. Where sizes that were chosen or bounded here do not fit, it is not known; else that is an error."""
        try:
            return self._learn(node, values, attributes, opset, context)
        except (InputError, RuleError) as error:
            if not self.inputs.defaults and not self.facts.data_dependent:
                raise
            self.facts.misfits.append(f"{described(node)}: {error}")
            outputs: list[tuple[str, TensorType | None, Array | None]] = [(UNDEFINED, None, None)] * len(node.output)
            target = f"{node.domain or 'ai.onnx'}::{node.op_type}"
            return _Known(outputs, [self._unpriced(target, SHAPE_UNKNOWN, values, outputs)], {}, local=True)

    def _learn(
        self, node: onnx.NodeProto, values: Sequence[Value | None], attributes: dict[str, Any], opset: int, context: Context
    ) -> _Known:
        domain = "" if node.domain == "ai.onnx" else node.domain
        inferred, bounded = self._types(node, domain, opset, values, attributes, context)
        raw = [(name, shape) for name, (_, shape) in zip(node.output, inferred, strict=False)]
        typed = [self._resolved(entry, name, context) for entry, name in zip(inferred, node.output, strict=False)]
        outputs: list[tuple[str, TensorType | None, Array | None]] = []
        folded = None
        if not domain:
            first = typed[0][1] if typed else None
            known = {"num_outputs": len(node.output), **attributes} if node.op_type == "Split" else attributes
            folded = fold(node.op_type, values, known, opset, None if first is None or bounded else first.elements)
        for position, (dtype, type) in enumerate(typed):
            data = folded[position] if folded is not None and position < len(folded) else None
            if data is not None:
                own = data_of(data, dtype)
                type = TensorType.of(data.shape, own[0])
                dtype, data = own
            if type is not None:
                check_size(node.output[position], type.shape)
            outputs.append((dtype, type, data))
        if folded is not None:
            bounded = False
        pieces, between = self._lower(node, domain, opset, values, attributes, outputs)
        local = any(name in context.declared and (shape is None or not all(isinstance(size, int) for size in shape)) for name, shape in raw)
        return _Known(outputs, pieces, between, bounded, local)

    def _types(
        self, node: onnx.NodeProto, domain: str, opset: int, values: Sequence[Value | None], attributes: Mapping[str, Any], context: Context
    ) -> tuple[list[Typed], bool]:
        own = own_inference(domain, node.op_type)
        raw: list[Typed] = own(values, attributes, len(node.output)) if own is not None else infer(node, opset, values, context.opsets)
        bounded = False
        if any(shape is None or any(not isinstance(size, int) or size < 0 for size in shape) for _, shape in raw):
            bound = bound_of(domain, node.op_type)
            found = None if bound is None else bound(values, attributes, len(node.output))
            if found is not None:
                raw, bounded = found, True
            elif node.op_type in _WINDOWED and all(value is None or value.type is not None for value in values):
                raise InputError("its window is larger than its padded input, or its strides and dilations leave nothing of it")
        return raw, bounded

    def _resolved(self, typed: Typed, name: str, context: Context) -> tuple[str, TensorType | None]:
        """A type without names of sizes, from what the file declares where the inference does not know."""
        dtype, shape = typed
        declared = context.declared.get(name)
        for candidate in (shape, None if declared is None else declared[1]):
            if candidate is None:
                continue
            sizes = [self.inputs.bound(size) for size in candidate]
            known = dtype if dtype != UNDEFINED or declared is None else declared[0]
            if all(size is not None and size >= 0 for size in sizes):
                return known, TensorType.of([size for size in sizes if size is not None], known)
        return (dtype if dtype != UNDEFINED or declared is None else declared[0]), None

    def _lower(
        self,
        node: onnx.NodeProto,
        domain: str,
        opset: int,
        values: Sequence[Value | None],
        attributes: Mapping[str, Any],
        outputs: Sequence[tuple[str, TensorType | None, Array | None]],
    ) -> tuple[list[tuple[Signature, tuple[int, ...], tuple[int, ...]]], dict[int, TensorType]]:
        target = f"{domain or 'ai.onnx'}::{node.op_type}"
        present = [value for value in values if value is not None and value.items is None and not value.absent]
        if any(value.type is None for value in present) or any(
            type is None for name, (_, type, _) in zip(node.output, outputs, strict=True) if name
        ):
            return [self._unpriced(target, SHAPE_UNKNOWN, values, outputs)], {}
        slots = [
            None
            if value is None or value.type is None
            else Slot(i, value.type, value.data, value.tensor is not None and value.tensor.role == "parameter")
            for i, value in enumerate(values)
        ]
        outs = [
            Slot(len(slots) + i, type, data) if name and type is not None else None
            for i, (name, (_, type, data)) in enumerate(zip(node.output, outputs, strict=True))
        ]
        lower = lowering_of(domain, node.op_type)
        if lower is None or all(slot is None for slot in outs):
            return [
                self._unpriced(
                    target, target, values, outputs, {k: v for k, v in attributes.items() if isinstance(v, int | float | str | tuple)}
                )
            ], {}
        call = Call(domain, node.op_type, opset, attributes, slots, outs)
        lower(call)
        return self._signatures(target, call.pieces)

    def _unpriced(
        self, target: str, kind: str, values: Sequence[Value | None], outputs: Sequence[tuple[str, TensorType | None, Array | None]],
        attributes: Mapping[str, Any] | None = None,
    ) -> tuple[Signature, tuple[int, ...], tuple[int, ...]]:  # fmt: skip
        """The signature of a call that the table does not have; a rule that the user registered may still price it."""
        typed = {i: value.type for i, value in enumerate(values) if value is not None and value.type is not None}
        made = {len(values) + i: type for i, (_, type, _) in enumerate(outputs) if type is not None}
        arguments: dict[str, Any] = {f"input{i}": type for i, type in typed.items()} | dict(attributes or {})
        signature = Signature(target, kind, arguments, tuple(made.values()))
        if kind != SHAPE_UNKNOWN:
            self.price(signature)
        return signature, tuple(typed), tuple(made)

    def _signatures(
        self, target: str, pieces: Sequence[Piece]
    ) -> tuple[list[tuple[Signature, tuple[int, ...], tuple[int, ...]]], dict[int, TensorType]]:
        found, between = [], {}
        for piece in pieces:
            reads: list[int] = []
            arguments = {name: _typed_argument(value, reads) for name, value in piece.arguments.items()}
            effect = "view" if piece.view else "fresh"
            signature = Signature(target, piece.kind, arguments, tuple(slot.type for slot in piece.outputs), effect)  # type: ignore[arg-type]
            self.price(signature)  # so that an op whose shapes do not fit is named here
            between.update({slot.index: slot.type for slot in piece.outputs})
            found.append((signature, tuple(reads), tuple(slot.index for slot in piece.outputs)))
        return found, between

    # -- into the graph -------------------------------------------------------------------------------------------------------

    def _emit(self, node: onnx.NodeProto, values: Sequence[Value | None], known: _Known, block: Block, context: Context) -> list[Value]:
        stripped = self._stripped_weight(node, values, known)
        if stripped is not None:
            return [stripped]
        scope = self.scope_of(node, context)
        places: dict[int, Tensor] = {}
        for i, value in enumerate(values):
            if value is not None and value.type is not None:
                places[i] = self.place_of(value)
        for signature, reads, makes in known.pieces:
            inputs = tuple([places[i] for i in reads])
            made = []
            for i, type in zip(makes, signature.outputs, strict=True):
                places[i] = self.tensor(type)
                made.append(places[i])
            block.entries.append(Pending(signature, inputs, tuple(made), scope, node.name))
        if known.bounded:
            self.facts.data_dependent.append((known.pieces[0][0].target, scope))
        if any(signature.kind == SHAPE_UNKNOWN for signature, _, _ in known.pieces):
            self.facts.unknown.append(node.name or node.op_type)
        first = len(values)
        return [
            Value(name, dtype, type, data, tensor=places.get(first + i))
            for i, (name, (dtype, type, data)) in enumerate(zip(node.output, known.outputs, strict=True))
        ]

    def _stripped_weight(self, node: onnx.NodeProto, values: Sequence[Value | None], known: _Known) -> Value | None:
        """A constant of a fixed shape that a layer uses as its weight stands for a weight that was stripped from the file."""
        if node.op_type != "ConstantOfShape" or not values or values[0] is None or values[0].tensor is None:
            return None
        dtype, type, data = known.outputs[0]
        if type is None or values[0].tensor.role != "constant":
            return None
        place = self.constants.adopted(node.output[0], type)
        return None if place is None else Value(node.output[0], dtype, type, data, tensor=place)

    def place_of(self, value: Value) -> Tensor:
        """The place of a value in the traced graph; a constant gets one when it is first read."""
        if value.tensor is None:
            assert value.type is not None
            value.tensor = self.tensor(value.type, role="constant", name=value.name)
        return value.tensor

    def scope_of(self, node: onnx.NodeProto, context: Context) -> str:
        """The scope of a node, inside that of the function or loop around it."""
        own = self.scopes.scope_of(node)
        if not context.scope:
            return own
        if not own or own == context.scope or own.startswith(f"{context.scope}."):
            return own or context.scope
        path = f"{context.scope}.{own}"
        self.scopes.add(path)
        return path


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")


def _read(name: str, env: Env) -> Value | None:
    if not name:
        return None
    found = env.get(name)
    if found is None:
        raise InputError(f"it reads {name!r}, which no input, initializer or node makes")
    return found


class _LocatedError(InputError):
    """An error that names its node already."""


def described(node: onnx.NodeProto) -> str:
    """A node as messages name it."""
    return f"the node {node.name!r} ({node.op_type})" if node.name else f"the node {node.op_type} that makes {', '.join(node.output)!r}"


def _typed_argument(value: Any, reads: list[int]) -> Any:
    if isinstance(value, Slot):
        reads.append(value.index)
        return value.type
    if isinstance(value, tuple) and any(isinstance(item, Slot) for item in value):
        return tuple(_typed_argument(item, reads) for item in value)
    return value
