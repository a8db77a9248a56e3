"""What becomes of a call: the types of its outputs, their elements where these are known, and the pieces that rules price.

It is learned once for all calls that are equal, in all models, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from flopscope.cost import Cost
from flopscope.errors import InputError, RuleError
from flopscope.frontends.onnx.attributes import attributes_of, resolved
from flopscope.frontends.onnx.checks import check_size
from flopscope.frontends.onnx.constants import data_of
from flopscope.frontends.onnx.dtypes import UNDEFINED
from flopscope.frontends.onnx.folding import fold
from flopscope.frontends.onnx.ops import lowering_of
from flopscope.frontends.onnx.types import Typed, bound_of, completion_of, infer, own_inference
from flopscope.frontends.onnx.values import Array, Call, Piece, Slot, Value
from flopscope.graph import SHAPE_UNKNOWN, Signature, TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context, Facts
    from flopscope.frontends.onnx.inputs import Inputs

Price = Callable[[Signature], Cost | None]
"""What a call costs, by the rules, which lie above the front ends."""
_WINDOWED = ("Conv", "MaxPool", "AveragePool", "LpPool", "ConvTranspose", "QLinearConv", "ConvInteger")
_MOST_KNOWN = 100_000

Output = tuple[str, TensorType | None, Array | None]
"""An element type, a type where the shape is known, and elements where they are known."""


class Made(NamedTuple):
    """A signature, and which values of the call it reads and makes."""

    signature: Signature
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Known:
    """What became of a call, for all calls that are equal."""

    outputs: list[Output]
    pieces: list[Made]
    bounded: bool = False
    """Whether sizes that only data knows were bounded."""
    local: bool = False
    """Whether it holds for this node only: what the file declares, or the sizes that were chosen, may have gone into it."""
    unknown: bool = False
    """Whether a shape is missing."""
    stands_for_weight: bool = False
    """Whether a constant of a fixed shape is made, as in files whose weights were stripped."""
    notes: Sequence[str] = ()
    """What a reader of the numbers must know of it."""


_memo: dict[Any, Known] = {}


def clear_memo() -> None:
    """Forget what was learned of calls."""
    _memo.clear()


class Learner:
    """Says what becomes of calls, in one model."""

    def __init__(self, inputs: Inputs, facts: Facts, price: Price) -> None:
        self._inputs = inputs
        self._facts = facts
        self._price = price

    def known(self, node: onnx.NodeProto, values: Sequence[Value | None], context: Context) -> Known:
        """What becomes of a call.

        Raises:
            InputError: its inputs do not fit.
            RuleError: they do not fit, as its rule finds.
        """
        attributes = tuple([attribute.SerializeToString() for attribute in node.attribute])
        outer = repr(context.attributes) if context.attributes and any(a.ref_attr_name for a in node.attribute) else ""
        keys = tuple([None if value is None else value.key for value in values])
        opset = context.opset(node.domain)
        key = (self._price, node.op_type, node.domain, opset, attributes, outer, keys, tuple([name != "" for name in node.output]))
        found = _memo.get(key)
        if found is None:
            node = resolved(node, context.attributes)
            found = self._learned(node, values, attributes_of(node), opset, context)
            if not found.local:
                if len(_memo) >= _MOST_KNOWN:
                    _memo.clear()
                _memo[key] = found
        return found

    def _learned(
        self, node: onnx.NodeProto, values: Sequence[Value | None], attributes: dict[str, Any], opset: int, context: Context
    ) -> Known:
        """What becomes of a call. Where sizes that were chosen or bounded here do not fit, it is not known; else that is an error."""
        try:
            return self._learn(node, values, attributes, opset, context)
        except (InputError, RuleError) as error:
            if not self._inputs.defaults and not self._facts.data_dependent:
                raise
            self._facts.misfits.append(f"{described(node)}: {error}")
            outputs: list[Output] = [(UNDEFINED, None, None)] * len(node.output)
            pieces = [self._unpriced(f"{node.domain or 'ai.onnx'}::{node.op_type}", SHAPE_UNKNOWN, values, outputs)]
            return Known(outputs, pieces, local=True, unknown=True)

    def _learn(
        self, node: onnx.NodeProto, values: Sequence[Value | None], attributes: dict[str, Any], opset: int, context: Context
    ) -> Known:
        domain, names = "" if node.domain == "ai.onnx" else node.domain, list(node.output)
        inferred, bounded = self._types(node, domain, opset, values, attributes, context)
        typed = [self._resolved(entry, name, context) for entry, name in zip(inferred, names, strict=False)]
        folded = None if domain else self._folded(node, values, attributes, opset, None if bounded else typed[0][1] if typed else None)
        outputs: list[Output] = []
        for position, (dtype, type) in enumerate(typed):
            data = folded[position] if folded is not None and position < len(folded) else None
            if data is not None:
                dtype, data = data_of(data, dtype)
                type = TensorType.of(data.shape, dtype)
            if type is not None:
                check_size(names[position], type.shape)
            outputs.append((dtype, type, data))
        local = any(name and (dtype == UNDEFINED or not _is_settled(shape)) for name, (dtype, shape) in zip(names, inferred, strict=False))
        pieces, notes = self._pieces(node, domain, opset, values, attributes, outputs)
        unknown = any(piece.signature.kind == SHAPE_UNKNOWN for piece in pieces)
        fills = not domain and node.op_type == "ConstantOfShape" and outputs[0][1] is not None
        return Known(outputs, pieces, bounded and folded is None, local, unknown, fills, notes)

    def _folded(
        self, node: onnx.NodeProto, values: Sequence[Value | None], attributes: dict[str, Any], opset: int, type: TensorType | None
    ) -> list[Array] | None:
        known = {"num_outputs": len(node.output), **attributes} if node.op_type == "Split" else attributes
        return fold(node.op_type, values, known, opset, None if type is None else type.elements)

    # -- types ------------------------------------------------------------------------------------------------------------------

    def _types(
        self, node: onnx.NodeProto, domain: str, opset: int, values: Sequence[Value | None], attributes: Mapping[str, Any], context: Context
    ) -> tuple[list[Typed], bool]:
        """The types as they are inferred, and whether sizes among them are bounds."""
        own = own_inference(domain, node.op_type)
        raw: list[Typed] = own(values, attributes, len(node.output)) if own is not None else infer(node, opset, values, context.opsets)
        if all(_is_settled(shape) for _, shape in raw):
            return raw, False
        complete, bound = completion_of(domain, node.op_type), bound_of(domain, node.op_type)
        if complete is not None and own is None and any(shape is None for _, shape in raw):
            return complete(values, attributes, len(node.output)), False
        found = None if bound is None else bound(values, attributes, len(node.output))
        if found is not None and all(_is_settled(shape) for _, shape in found):
            return found, True
        if node.op_type in _WINDOWED and all(value is None or value.type is not None for value in values):
            raise InputError("its window is larger than its padded input, or its strides and dilations leave nothing of it")
        return raw, False

    def _resolved(self, typed: Typed, name: str, context: Context) -> tuple[str, TensorType | None]:
        """A type without names of sizes, from what the file declares where the inference does not know."""
        dtype, shape = typed
        if dtype != UNDEFINED and _is_settled(shape):
            return dtype, TensorType.of(shape, dtype)  # type: ignore[arg-type]
        declared = context.declared.type_of(name)
        known = dtype if dtype != UNDEFINED or declared is None else declared[0]
        for candidate in (shape, _merged(shape, None if declared is None else declared[1])):
            if candidate is not None:
                sizes = [self._inputs.bound(size) for size in candidate]
                if _is_settled(sizes):
                    return known, TensorType.of(sizes, known)  # type: ignore[arg-type]
        return known, None

    # -- pieces -----------------------------------------------------------------------------------------------------------------

    def _pieces(
        self, node: onnx.NodeProto, domain: str, opset: int, values: Sequence[Value | None], attributes: Mapping[str, Any],
        outputs: Sequence[Output],
    ) -> tuple[list[Made], list[str]]:  # fmt: skip
        """The pieces of a call, and what must be known of it."""
        target = f"{domain or 'ai.onnx'}::{node.op_type}"
        if any(value is not None and value.type is None and value.items is None and not value.absent for value in values):
            return [self._unpriced(target, SHAPE_UNKNOWN, values, outputs)], []
        if any(name and type is None for name, (_, type, _) in zip(node.output, outputs, strict=True)):
            return [self._unpriced(target, SHAPE_UNKNOWN, values, outputs)], []
        outs = [
            Slot(len(values) + i, type, data) if name and type is not None else None
            for i, (name, (_, type, data)) in enumerate(zip(node.output, outputs, strict=True))
        ]
        lower = lowering_of(domain, node.op_type)
        if lower is None or all(slot is None for slot in outs):
            plain = {name: value for name, value in attributes.items() if isinstance(value, int | float | str | tuple)}
            return [self._unpriced(target, target, values, outputs, plain)], []
        call = Call(domain, node.op_type, opset, attributes, [_slot(i, value) for i, value in enumerate(values)], outs)
        try:
            lower(call)
        except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
            raise InputError(f"its inputs {', '.join(str(slot.type) for slot in call.inputs if slot is not None)} do not fit it") from error
        return [self._priced(target, piece) for piece in call.pieces], call.notes

    def _unpriced(
        self, target: str, kind: str, values: Sequence[Value | None], outputs: Sequence[Output], attributes: Mapping[str, Any] | None = None
    ) -> Made:
        """The signature of a call that the table does not have; a rule that the user registered may still price it."""
        typed = {i: value.type for i, value in enumerate(values) if value is not None and value.type is not None}
        made = {len(values) + i: type for i, (_, type, _) in enumerate(outputs) if type is not None}
        arguments: dict[str, Any] = {f"input{i}": type for i, type in typed.items()} | dict(attributes or {})
        signature = Signature(target, kind, arguments, tuple(made.values()))
        if kind != SHAPE_UNKNOWN:
            self._price(signature)
        return Made(signature, tuple(typed), tuple(made))

    def _priced(self, target: str, piece: Piece) -> Made:
        reads: list[int] = []
        arguments = {name: _typed_argument(value, reads) for name, value in piece.arguments.items()}
        outputs = tuple([slot.type for slot in piece.outputs])
        signature = Signature(target, piece.kind, arguments, outputs, "view" if piece.view else "fresh")
        self._price(signature)  # so that an op whose shapes do not fit is named here
        return Made(signature, tuple(reads), tuple([slot.index for slot in piece.outputs]))


def _is_settled(shape: Sequence[Any] | None) -> bool:
    """Whether every size of a shape is known and none is negative."""
    return shape is not None and all(isinstance(size, int) and size >= 0 for size in shape)


def _merged(inferred: Sequence[Any] | None, declared: Sequence[Any] | None) -> Sequence[Any] | None:
    """What a file declares, for the sizes that are not inferred; nothing where it declares another number of dimensions."""
    if inferred is None or declared is None:
        return declared
    if len(inferred) != len(declared):
        return None
    return [mine if isinstance(mine, int) and mine >= 0 else theirs for mine, theirs in zip(inferred, declared, strict=True)]


def _slot(position: int, value: Value | None) -> Slot | None:
    if value is None or value.type is None:
        return None
    return Slot(position, value.type, value.data, value.tensor is not None and value.tensor.role == "parameter")


def _typed_argument(value: Any, reads: list[int]) -> Any:
    if isinstance(value, Slot):
        reads.append(value.index)
        return value.type
    if isinstance(value, tuple) and any(isinstance(item, Slot) for item in value):
        return tuple(_typed_argument(item, reads) for item in value)
    return value


def described(node: onnx.NodeProto) -> str:
    """A node as messages name it."""
    return f"the node {node.name!r} ({node.op_type})" if node.name else f"the node {node.op_type} that makes {', '.join(node.output)!r}"
