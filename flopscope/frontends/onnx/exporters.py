"""What PyTorch's exporters leave in a file that tells a parameter from a value that was computed at export.

Both exporters compute at export whatever does not depend on the inputs: transposed weights, expanded biases, convolutions into which the
batch norm after them was folded, tables of positions, masks, initial states. The newer one (``dynamo=True``) writes at each node the call
of PyTorch that it stands for, where ``%p_layer_weight`` is a parameter and ``%b_layer_mean`` a buffer; the older one
(TorchScript) names what it computed ``onnx::MatMul_14`` after the first node that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flopscope.frontends.onnx.dtypes import FLOATING, NAMES

if TYPE_CHECKING:
    import onnx

_CALL = "pkg.torch.onnx.fx_node"
_NAME = re.compile(r"%([A-Za-z_]\w*)")
_GENERATED = re.compile(r"onnx::\w+|\d+|/.*|.*_output_\d+|.*_param\d+")
_SCALES = ("Mul", "Add", "PRelu")
"""What reads a parameter of one element."""
_OTHER = re.compile(r"\W")
_PLAIN = ("Mul", "Add", "Sub", "Div", "Concat", "Expand", "Where", "Gather", "Slice")
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}


@dataclass(frozen=True, slots=True)
class Read:
    """One use of a tensor: the node that reads it, at which input, and the call of PyTorch that the node stands for, if it says so."""

    op: str
    position: int
    call: str
    """The name of the call's result, which tells calls apart."""
    target: str
    names: tuple[str, ...]


_GRAPH, _GRAPHS = 5, 10  # AttributeProto


@dataclass(slots=True)
class Origins:
    """Where the tensors of a file come from; empty for files of other exporters, of which nothing is known."""

    reads: dict[str, list[Read]] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    """The parameters that the file holds under their own names, as calls write them."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)
    is_torch: bool = False
    copies: list[str] = field(default_factory=list)
    first: dict[tuple[str, int, int, tuple[str, ...]], str] = field(default_factory=dict)
    """The first call that was met for each use of parameters: a second one reads a copy."""
    computed: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    """Counted as parameters, but perhaps buffers."""
    spread: list[str] = field(default_factory=list)
    """Counted as parameters as the exporter computed them, perhaps with other sizes."""
    folded: int = 0
    """Batch norms that were folded into convolutions."""

    def learn(self, model: onnx.ModelProto) -> None:
        """See which tensors a model of PyTorch holds, and what reads them."""
        self.is_torch = model.producer_name == "pytorch"
        if not self.is_torch:
            return
        held = {tensor.name for tensor in model.graph.initializer if NAMES.get(tensor.data_type) in FLOATING}
        self.present = {_as_written(name) for name in held}
        self.shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        for node in _nodes(model.graph):
            call = ""
            for entry in node.metadata_props:
                if entry.key == _CALL:
                    call = entry.value
                    break
            target, names = call.partition("target=")[2].partition("]")[0], tuple(_NAME.findall(call.partition("](")[2]))
            self.mentioned.update(names)
            for position, name in enumerate(node.input):
                if name:
                    self.reads.setdefault(name, []).append(Read(node.op_type, position, call.partition(" ")[0], target, names))
            if _is_folded(node, target, held):
                self.folded += 1

    @property
    def has_calls(self) -> bool:
        """Whether the nodes say which calls they stand for."""
        return bool(self.mentioned)

    def parameter(self, name: str, elements: int, positions: dict[str, tuple[int, ...]], *, constant: bool) -> bool | None:
        """Whether a floating-point tensor is a parameter; ``None`` where only its use can tell.

        Args:
            name: the name of the tensor.
            elements: how many elements it has.
            positions: the inputs of each op that are weights.
            constant: whether a node makes it.
        """
        reads = self.reads.get(name)
        if not self.is_torch:
            return None
        if constant:  # other tools move parameters into nodes; the ones and zeros of norms are there from the start
            is_norm = bool(reads) and all(read.op in ("InstanceNormalization", "BatchNormalization") for read in reads or ())
            return False if is_norm and _GENERATED.fullmatch(name) else None
        if not reads:
            return False if self.has_calls else None  # the newer exporter keeps parameters in the outermost graph
        found = self._called(name, elements, reads, positions) if self.has_calls else self._named(name, elements, reads)
        if found is False and elements > 1 and name not in self.copies:
            self.computed.append(name)
        return found

    def _named(self, name: str, elements: int, reads: list[Read]) -> bool | None:
        if not _GENERATED.fullmatch(name):
            if elements == 1 and not all(read.op in _SCALES for read in reads):
                return None
            if name.rpartition(".")[2] not in ("weight", "bias") and all(read.op in _PLAIN for read in reads):
                self.doubtful.append(name)
            return True
        is_state = all(read.position in _STATES.get(read.op, ()) for read in reads)
        is_for_statistics = name.startswith("onnx::ReduceMean")  # a transposed copy, to standardise weights that are held beside it
        if is_state or is_for_statistics:
            return False
        if sum(size > 1 for size in self.shapes.get(name, ())) > 1 and all(read.op in _PLAIN for read in reads):
            self.spread.append(name)
        return None

    def _called(self, name: str, elements: int, reads: list[Read], positions: dict[str, tuple[int, ...]]) -> bool:
        written = _as_written(name)
        if f"p_{written}" in self.mentioned:
            return True
        if f"b_{written}" in self.mentioned or f"c_{written}" in self.mentioned:
            return False
        return any(self._stands_for(name, elements, read, positions) for read in reads)

    def _stands_for(self, name: str, elements: int, read: Read, positions: dict[str, tuple[int, ...]]) -> bool:
        """Whether this use shows that a computed tensor stands for a parameter that is not in the file itself."""
        weights = positions.get(read.op)
        if name in read.names and self._keeps_elements(name, read.op):
            return True
        if read.op == "InstanceNormalization" and "group_norm" in read.target:
            return False  # ones and zeros: the weights of the group norm follow
        if elements == 1 if weights is None else read.position not in weights:
            return False
        parameters = tuple([other for other in read.names if other.startswith("p_")])
        if any(other.removeprefix("p_") not in self.present for other in parameters):
            is_copy = self.first.setdefault((read.op, read.position, elements, parameters), read.call) != read.call
            if is_copy:
                self.copies.append(name)
            return not is_copy
        if parameters and name not in read.names and "linear" in read.target:
            if read.names[1:2] != parameters[:1]:
                return True  # the product with a computed matrix: only its bias is in the file
            self.copies.append(name)
            return False
        return weights is not None and (name in read.names or "linear" in read.target)

    def _keeps_elements(self, name: str, op: str) -> bool:
        """Whether a computed tensor, which is named after the call that made it, holds elements of a parameter and nothing else."""
        shape = self.shapes.get(name, ())
        maker = name.rstrip("0123456789").rstrip("_")
        if maker == "expand":  # a class token, over a batch of one
            return op == "Concat" and shape[:1] == (1,)
        if maker == "embedding":  # rows of a table, at positions that are known
            return op == "Add"
        is_vector = len(shape) > 1 and sum(size > 1 for size in shape) == 1
        return maker in ("view", "reshape", "unsqueeze") and op in ("Mul", "Add") and is_vector  # a scale or bias of channels

    def notes(self) -> Iterator[str]:
        """What the exporter changed, as far as the file shows it."""
        if self.folded:
            yield (
                f"the exporter folded {self.folded} batch norms into the convolutions before them: their weights are gone, and these "
                "convolutions have biases, unless these are zero"
            )
        if self.copies:
            yield f"the file holds shared weights twice, the second time transposed ({_listed(self.copies)}): they are counted once"
        if self.computed:
            yield (
                f"the exporter computed values that depend on no input, or wrote buffers ({_listed(self.computed)}): they are no "
                "parameters, and what they were computed from is not in the file"
            )
        shared = [] if self.has_calls else self._maybe_shared()
        if shared:
            yield (
                f"the file may hold shared weights twice: {_listed(shared)} has the shape of a transposed table that is looked up; this "
                "exporter does not say whether it is the same; it is counted"
            )
        if self.doubtful:
            yield f"this exporter does not tell buffers from parameters; {_listed(self.doubtful)} are counted as parameters"
        if self.spread:
            yield (
                f"the exporter computed {_listed(self.spread)} from parameters or constants; they are counted as parameters, with the "
                "sizes that they have in the file"
            )

    def _maybe_shared(self) -> list[str]:
        """Matrices that may be transposed copies of a table that is looked up: the older exporter does not say which are shared."""
        tables = {self.shapes.get(name) for name, reads in self.reads.items() if any(r.op == "Gather" and r.position == 0 for r in reads)}
        return [
            name
            for name, reads in self.reads.items()
            if name.startswith("onnx::MatMul")
            and len(self.shapes.get(name, ())) == 2
            and self.shapes[name][::-1] in tables
            and any(read.position == 1 for read in reads)
        ]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and of the graphs inside them."""
    todo = [graph]
    while todo:
        for node in todo.pop().node:
            yield node
            for attribute in node.attribute:
                if attribute.type == _GRAPH:
                    todo.append(attribute.g)
                elif attribute.type == _GRAPHS:
                    todo += attribute.graphs


def _is_folded(node: onnx.NodeProto, target: str, held: set[str]) -> bool:
    """Whether a batch norm was folded into a convolution."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return False
    if target:
        return "batch_norm" in target
    return len(node.input) > 2 and all(name in held and name.startswith("onnx::Conv") for name in node.input[1:3])


def _as_written(name: str) -> str:
    """``Layer.0.weight`` as calls write it: ``layer_0_weight``."""
    return _OTHER.sub("_", name).lower()


def _listed(names: list[str]) -> str:
    listed = list(dict.fromkeys(names))
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
