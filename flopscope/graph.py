"""The graph of a traced model: tensors, ops and the modules they belong to. It knows no framework.

A graph prints as a program::

    graph Sequential(%0: float32[1, 3, 8, 8]):
      %1: float32[1, 4, 8, 8] = aten::conv2d(%0, @0.weight, @0.bias, padding=(1, 1))  # 0
      %2: float32[1, 4, 8, 8] = aten::relu(%1)  # 1
      return %2

``%n`` is a tensor that the program makes, ``@name`` a parameter or buffer, and the comment is the scope: the path of the module
that ran the op. Values are never overwritten: an in-place op makes a new value, and a view of memory that was written
since the view was made is renewed by an explicit ``flopscope::alias`` op. So edges tell the whole truth about dataflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from flopscope.errors import GraphError
from flopscope.tensor_type import TensorType as TensorType
from flopscope.tensor_type import bits_of as bits_of

if TYPE_CHECKING:
    import networkx

Role = Literal["input", "parameter", "buffer", "constant", "result", "inner"]
Effect = Literal["fresh", "view", "inplace"]

SHAPE_UNKNOWN = "shape_unknown"
"""The kind of an op that cannot be counted because a shape around it is not known, whatever rules there are."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights that a backend keeps in a layout of its own, by what they were before they were packed. In a signature it is no tensor."""

    weight: TensorType
    bias: TensorType | None = None

    def __repr__(self) -> str:
        return f"packed {self.weight}{'' if self.bias is None else f' + {self.bias}'}"


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What an op computes, without where: everything that its cost can depend on.

    ``arguments`` holds every argument by name: a `TensorType`, a tuple of them (with ``None`` for an absent one), or a plain value.
    A front end makes one object for all ops with the same signature, so that whatever depends on it is computed once.
    """

    target: str
    """The front end's own name of the op, such as ``"aten::conv2d"``."""
    kind: str
    """The front-end neutral name that rules are registered for, such as ``"conv"``."""
    arguments: Mapping[str, Any]
    outputs: tuple[TensorType, ...]
    effect: Effect = "fresh"
    """``"view"``: the outputs share memory with an input; ``"inplace"``: an input is overwritten."""
    written_only: tuple[str, ...] = ()
    """Arguments that receive a result and are not read (``out=``)."""

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The argument of that name, or the default where it is missing or ``None``."""
        value = self.arguments.get(name)
        return default if value is None else value

    @property
    def output(self) -> TensorType:
        """The first output."""
        return self.outputs[0]

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """The types of all tensor arguments, in order."""
        found: list[TensorType] = []
        for value in self.arguments.values():
            if isinstance(value, TensorType):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend(_tensor_types(value))
        return tuple(found)

    @property
    def read(self) -> tuple[TensorType, ...]:
        """The types of the tensor arguments that are read."""
        if not self.written_only:
            return self.inputs
        return tuple(_tensor_types(value for name, value in self.arguments.items() if name not in self.written_only))

    @property
    def attributes(self) -> dict[str, Any]:
        """The arguments that hold no tensors and are not ``None``."""
        return {
            name: value
            for name, value in self.arguments.items()
            if value is not None and not isinstance(value, TensorType) and not any(_tensor_types([value]))
        }


def _tensor_types(values: Any) -> Iterator[TensorType]:
    for value in values:
        if isinstance(value, TensorType):
            yield value
        elif isinstance(value, tuple):
            yield from _tensor_types(value)


@dataclass(slots=True, eq=False)
class Tensor:
    """A value in a graph. ``producer`` is the index of the op that made it, or ``None`` for what came from outside.

    A value whose role is ``"inner"`` is made and read by the pieces of one node of a file, and no tensor of the file.
    """

    id: int
    type: TensorType
    role: Role = "result"
    producer: int | None = None
    name: str | None = None
    storage: int | None = None
    """The id of the value that its memory was made for, where that is another value: views and what is written in place share it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self.type.shape

    def __str__(self) -> str:
        return f"@{self.name}" if self.name is not None and self.role in ("parameter", "buffer") else f"%{self.id}"


@dataclass(slots=True, eq=False)
class Op:
    """One call of an op: its signature, the values it reads and makes, and the module that ran it."""

    index: int
    signature: Signature
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scope: str = ""
    times: int = 1
    """How often it runs: the body of a loop, or of a function that is called again and again, is in the graph once."""
    name: str = ""
    """What the model's file calls it, where it has names for ops."""

    @property
    def target(self) -> str:
        """The front end's own name of the op."""
        return self.signature.target

    @property
    def kind(self) -> str:
        """The front-end neutral name of the op."""
        return self.signature.kind

    def __str__(self) -> str:
        values = iter(self.inputs)
        arguments = ", ".join(_argument_texts(self.signature.arguments, values))
        outputs = ", ".join(f"{value}: {value.type}" for value in self.outputs)
        often = f"{self.times} times" if self.times != 1 else ""
        comment = f"  # {', '.join(filter(None, (self.scope, often)))}" if self.scope or often else ""
        return f"{outputs}{' = ' if outputs else ''}{self.target}({arguments}){comment}"


def _argument_texts(arguments: Mapping[str, Any], values: Iterator[Tensor]) -> Iterator[str]:
    for name, value in arguments.items():
        if isinstance(value, TensorType):
            yield str(next(values))
        elif isinstance(value, tuple) and any(_tensor_types(value)):
            yield f"[{', '.join(str(next(values)) if item is not None else 'None' for item in value)}]"
        elif value is not None:
            yield f"{name}={value!r}"


@dataclass(slots=True)
class Module:
    """A module of the traced model: a node of the tree that scopes name."""

    path: str
    class_name: str
    calls: int = 0
    """How often it ran."""
    output_shape: tuple[int, ...] | None = None
    """The shape of the first tensor that its last call returned."""
    origin: str = ""
    """The Python module that defines the class, such as ``"torch.nn.modules.conv"``."""
    places: int = 1
    """Inside how many modules it is: a module that is shared has one path, the first."""


@dataclass(slots=True)
class Weight:
    """A parameter or buffer of the traced model, listed once however many modules share it."""

    name: str
    type: TensorType
    scope: str
    """The path of the first module that owns it."""
    trainable: bool = True
    shared_as: tuple[str, ...] = ()
    """The other names of the same tensor."""
    indices: int = 0
    """Of a sparse tensor, how many indices are stored beside its elements."""

    @property
    def elements(self) -> int:
        """How many numbers it holds: of a sparse one those that are stored."""
        return self.type.elements if self.type.nonzero is None else self.type.nonzero


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What the turns of a loop put together: a tensor with a slice of each turn."""

    whole: Tensor
    slices: tuple[Tensor, ...]
    """The slices as the graph knows them: of a body that is in the graph once, one."""
    at_once: bool
    """Whether the whole is there before the first turn, and each turn writes its slice into it."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The ops ``first`` to ``last`` are inside one node of a file, which holds what it reads until it has ended."""

    first: int
    last: int
    is_kernel: bool = True
    """Whether they run as one: the pieces of a node. Else they run one after the other, as the graph inside a loop does."""
    turns: int = 1
    carried: tuple[tuple[Tensor, Tensor], ...] = ()
    """What one turn of a loop hands to the next: what the first turn was given in its place, and what each turn makes."""
    varying: tuple[Tensor, ...] = ()
    """Values that differ from turn to turn, although no op makes them."""
    gathered: tuple[Gathered, ...] = ()
    holds: tuple[Tensor, ...] = ()
    """What the node reads although no op of it does: sizes, which are known."""


@dataclass(eq=False)
class Graph:
    """A traced model.

    ``notes`` says in words what a reader of any number from this graph must know; ``data_dependent`` lists the ops, with their scopes,
    that read values and so made the graph true for these inputs only.

    Examples:
        >>> import flopscope, torch
        >>> graph = flopscope.analyze(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()), "2x8").graph
        >>> print(graph)
        graph Sequential(%0: float32[2, 8]):
          %3: float32[2, 4] = aten::linear(%0, @0.weight, @0.bias)  # 0
          %4: float32[2, 4] = aten::relu(%3)  # 1
          return %4
        >>> graph.to_networkx().number_of_nodes()
        6
    """

    name: str
    ops: list[Op] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    """The values of the parameters and buffers that ops read, by name."""
    list_parameters: Callable[[], list[Weight]] = list
    list_buffers: Callable[[], list[Weight]] = list
    list_modules: Callable[[], list[Module]] = list
    notes: list[str] = field(default_factory=list)
    data_dependent: list[tuple[str, str]] = field(default_factory=list)
    deaths: dict[int, int] | None = None
    """When memory was given back: by the id of the value that it was made for, the index of the first op that ran without it. What is
    missing lived to the end. ``None`` where the front end runs nothing, so that only dataflow tells."""
    regions: list[Region] = field(default_factory=list)
    """The nodes of a file that hold more, or for longer, than one op tells."""
    inner: Callable[[Signature], Graph | None] | None = None
    """The ops inside an op that the front end records as one, as a graph of their own, or ``None`` where it is one indeed."""
    annotations: dict[str, Sequence[Any]] = field(default_factory=dict)
    """Facts that an analysis found about each op, such as its cost: one sequence per fact, in the order of the ops."""

    @cached_property
    def parameters(self) -> list[Weight]:
        """The parameters of the model, each once, whether or not an op reads them."""
        return self.list_parameters()

    @cached_property
    def buffers(self) -> list[Weight]:
        """The buffers of the model, each once."""
        return self.list_buffers()

    @cached_property
    def modules(self) -> list[Module]:
        """The module tree, parents before children."""
        return self.list_modules()

    def __str__(self) -> str:
        inputs = ", ".join(f"{value}: {value.type}" for value in self.inputs)
        lines = [f"graph {self.name}({inputs}):", *(f"  {op}" for op in self.ops)]
        return "\n".join([*lines, f"  return {', '.join(map(str, self.outputs))}".rstrip()])

    __repr__ = __str__

    def verify(self) -> None:
        """Check the laws of a graph.

        Every input of an op was produced before it is used; every op has as many values as its signature has types, and of these
        types; every size is a whole number; every scope is a module of the model.

        Raises:
            GraphError: names the first op that breaks a law, and the law.
        """
        known = {value.id for value in (*self.inputs, *self.weights.values())}
        scopes = {module.path for module in self.modules} | {""}
        for position, op in enumerate(self.ops):
            self._verify_op(position, op, known, scopes)
            known.update(value.id for value in op.outputs)
        for value in self.outputs:
            if value.id not in known and value.role != "constant":
                raise GraphError(f"the graph returns {value}, which no op produced")

    def _verify_op(self, position: int, op: Op, known: set[int], scopes: set[str]) -> None:
        def broken(law: str) -> GraphError:
            return GraphError(f"op {op.index} ({op}): {law}")

        if op.index != position:
            raise broken(f"its index is {op.index}, its position {position}")
        for value in op.inputs:
            if value.id not in known and value.role != "constant":
                raise broken(f"it reads {value} before any op produced it")
        for value in op.outputs:
            if value.id in known:
                raise broken(f"it produces {value} a second time")
            if value.producer != op.index:
                raise broken(f"{value} names op {value.producer} as its producer")
        if tuple(value.type for value in op.inputs) != op.signature.inputs:
            raise broken("its inputs differ from the types in its signature")
        if tuple(value.type for value in op.outputs) != op.signature.outputs:
            raise broken("its outputs differ from the types in its signature")
        for value in (*op.inputs, *op.outputs):
            if any(type(size) is not int or size < 0 for size in value.shape):
                raise broken(f"{value} has the shape {value.shape}, where whole numbers are needed")
        if op.scope not in scopes:
            raise broken(f"its scope {op.scope!r} is not a module of the model")

    def to_networkx(self) -> networkx.DiGraph[Any]:
        """The graph as networkx sees it: a node per op, input, weight and output, an edge wherever values flow.

        Op nodes are their indices and carry ``target``, ``kind``, ``scope``, ``shapes`` (of the outputs), ``attributes`` and every
        annotation (``cost`` where a report made the graph). The other nodes are named ``"%id"``, ``"@name"`` and ``"return"`` and carry
        ``role`` and ``shapes``. Edges carry the ``values`` that flow, and their ``shapes`` and ``dtypes``, as lists.
        """
        import networkx

        view: networkx.DiGraph[Any] = networkx.DiGraph(name=self.name)
        for value in (*self.inputs, *self.weights.values()):
            view.add_node(str(value), role=value.role, shapes=[value.shape])
        for op in self.ops:
            facts = {name: values[op.index] for name, values in self.annotations.items()}
            shapes = [value.shape for value in op.outputs]
            attributes = op.signature.attributes
            view.add_node(op.index, target=op.target, kind=op.kind, scope=op.scope, shapes=shapes, attributes=attributes, **facts)
            for value in op.inputs:
                _connect(view, value, op.index)
        view.add_node("return", role="output", shapes=[value.shape for value in self.outputs])
        for value in self.outputs:
            _connect(view, value, "return")
        return view


def _connect(view: networkx.DiGraph[Any], value: Tensor, reader: int | str) -> None:
    origin = str(value) if value.producer is None else value.producer
    if origin not in view:
        view.add_node(origin, role=value.role, shapes=[value.shape])
    if not view.has_edge(origin, reader):
        view.add_edge(origin, reader, values=[], shapes=[], dtypes=[])
    edge = view.edges[origin, reader]
    if str(value) not in edge["values"]:
        edge["values"].append(str(value))
        edge["shapes"].append(value.shape)
        edge["dtypes"].append(value.type.dtype)
