"""The walk over the nodes of a graph: each becomes ops of the traced graph, and its outputs become known by type."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.errors import InputError, RuleError
from flopscope.frontends.onnx import control, flex_attention, loops, sequences
from flopscope.frontends.onnx.attributes import attributes_of
from flopscope.frontends.onnx.blocks import Block, Pending
from flopscope.frontends.onnx.constants import Constants
from flopscope.frontends.onnx.facts import Context, Facts
from flopscope.frontends.onnx.learning import Known, Learner, Price, described
from flopscope.frontends.onnx.order import in_order
from flopscope.frontends.onnx.regions import SHARING, Draft
from flopscope.frontends.onnx.scopes import Scopes
from flopscope.frontends.onnx.values import Value
from flopscope.graph import Tensor, TensorType

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.inputs import Inputs

Env = MutableMapping[str, Value]
_DEEPEST = 120
_STANDARD = ("", "ai.onnx")


class Walker:
    """Walks graphs, and keeps what was learned on the way."""

    def __init__(self, model: onnx.ModelProto, inputs: Inputs, branch: control.Branch, price: Price) -> None:
        self.inputs = inputs
        self.price = price
        self.branch = branch
        self.scopes = Scopes()
        self.functions = control.Functions(model)
        self.constants = Constants(self)
        self.facts = Facts()
        self.drafts: list[Draft] = []
        """The nodes that more than one op stands for."""
        self.values: Mapping[str, Value] = {}
        """The values of the main graph, once it was walked."""
        self._learner = Learner(inputs, self.facts, price)
        self._handlers: dict[tuple[str, str], Callable[..., list[Value]] | None] = {}
        self._ids = 0

    def tensor(self, type: TensorType, **facts: Any) -> Tensor:
        """A new value of the traced graph."""
        self._ids += 1
        return Tensor(self._ids, type, **facts)

    def walk(self, nodes: Sequence[onnx.NodeProto], env: Env, block: Block, context: Context) -> None:
        """Walk nodes in their order, or in one in which they can run.

        Raises:
            InputError: a node reads what nobody made, or its inputs do not fit; the message names it.
        """
        if context.depth > _DEEPEST:
            raise InputError(f"its graphs or functions are nested more than {_DEEPEST} levels deep")
        own = env.maps[0] if isinstance(env, ChainMap) else env
        for position, node in enumerate(nodes):
            before = len(block.entries)
            try:
                self._node(node, env, own, block, context)
            except _TooEarlyError as error:  # of this node, or of one in a graph inside it
                rest = list(nodes[position:])
                ordered = in_order(rest, env)
                if ordered[0] is rest[0]:
                    raise error if error.is_located else _TooEarlyError(f"{described(node)}: {error}", is_located=True) from None
                del block.entries[before:]
                self.facts.notes["nodes of the file are out of order, against ONNX's rules; they were sorted"] = None
                self.walk(ordered, env, block, context)
                return
            except _LocatedError:
                raise
            except (InputError, RuleError) as error:
                raise _LocatedError(f"{described(node)}: {error}") from error

    def _node(self, node: onnx.NodeProto, env: Env, own: Env, block: Block, context: Context) -> None:
        op, domain, outputs = node.op_type, node.domain, node.output
        if op == "Constant" and domain in _STANDARD:
            self._constant(node, own, context)
            return
        values: list[Value | None] = []
        for name in node.input:
            value = env.get(name) if name else None
            if value is None and name:
                raise _TooEarlyError(f"it reads {name!r}, which no input, initializer or node makes")
            values.append(value)
        for name in outputs:
            if name in own:
                raise InputError(f"the value {name!r} is made a second time")
        handler = self._handler_of(node, domain, op)
        before = len(self.facts.data_dependent)
        results = self.call(node, values, block, context) if handler is None else handler(self, node, values, env, block, context)
        if len(self.facts.data_dependent) > before:
            self.facts.guessed.update(outputs)
        for name, value in zip(outputs, results, strict=False):
            if name:
                own[name] = value

    def _handler_of(self, node: onnx.NodeProto, domain: str, op: str) -> Callable[..., list[Value]] | None:
        """What walks a node that is no plain call. Only functions differ between nodes of the same op."""
        if self.functions.find(node) is not None:
            return control.handler_of(node, self.functions)
        if (domain, op) not in self._handlers:
            handler = control.handler_of(node, self.functions) or loops.handler_of(node)
            handler = handler or sequences.handler_of(node) or flex_attention.handler_of(node)
            self._handlers[domain, op] = handler
        return self._handlers[domain, op]

    def _constant(self, node: onnx.NodeProto, own: Env, context: Context) -> None:
        value = self.constants.of_node(node, attributes_of(node, context.attributes))
        before = own.get(node.output[0])  # some exporters write a constant once for every reader
        if before is not None and before.key != value.key:
            self.facts.repeated.append(node.output[0])
        own[node.output[0]] = value

    def call(self, node: onnx.NodeProto, values: Sequence[Value | None], block: Block, context: Context) -> list[Value]:
        """The outputs of a node that computes, whose ops go into a block."""
        known = self._learner.known(node, values, context)
        if known.stands_for_weight:
            weight = self._stripped_weight(node, values[0], known)
            if weight is not None:
                return [weight]
        return self._emit(node, values, known, block, self.scope_of(node, context))

    def _emit(self, node: onnx.NodeProto, values: Sequence[Value | None], known: Known, block: Block, scope: str) -> list[Value]:
        places: dict[int, Tensor] = {}
        for i, value in enumerate(values):
            if value is not None and value.type is not None:
                places[i] = value.tensor or self.place_of(value)
        name, entries = node.name, block.entries
        shares = node.op_type in SHARING and node.domain in _STANDARD
        own = len(values) + len(known.outputs)  # what comes after them lies between pieces
        for signature, reads, makes in known.pieces:
            inputs = tuple([places[i] for i in reads])
            made = []
            for i, type in zip(makes, signature.outputs, strict=True):
                self._ids += 1
                place = places[i] = Tensor(self._ids, type, "result" if i < own else "inner")
                made.append(place)
            entries.append(Pending(signature, inputs, tuple(made), scope, name, shares))
        unread = [] if len(values) == 1 else _unread(values, known)
        if unread or len(known.pieces) > 1:
            self.drafts.append(Draft(entries[-len(known.pieces) :], holds=unread))
        if known.bounded:
            self.facts.data_dependent.append((known.pieces[0].signature.target, scope))
        if known.notes:
            self.facts.notes.update(dict.fromkeys(known.notes))
        if known.unknown:
            self.facts.unknown.append(name or node.op_type)
        i = len(values) - 1
        return [Value(output, *facts, tensor=places.get(i := i + 1)) for output, facts in zip(node.output, known.outputs, strict=True)]

    def _stripped_weight(self, node: onnx.NodeProto, shape: Value | None, known: Known) -> Value | None:
        """A constant of a fixed shape that a layer uses as its weight stands for a weight that was stripped from the file."""
        dtype, type, data = known.outputs[0]
        if type is None or shape is None or shape.tensor is None or shape.tensor.role != "constant":
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


def _unread(values: Sequence[Value | None], known: Known) -> list[Tensor]:
    """The results among the inputs of a node that none of its pieces reads: sizes, as those of a reshape."""
    read = {i for _, reads, _ in known.pieces for i in reads}
    places = [value.tensor for i, value in enumerate(values) if i not in read and value is not None and value.tensor is not None]
    return [place for place in places if place.role == "result"]


class _LocatedError(InputError):
    """An error that names its node already."""


class _TooEarlyError(InputError):
    """A node reads a value that is not known, or not yet."""

    def __init__(self, text: str, *, is_located: bool = False) -> None:
        super().__init__(text)
        self.is_located = is_located
        """Whether the text names the node."""
