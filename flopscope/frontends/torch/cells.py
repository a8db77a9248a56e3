"""What the tracer knows about a live torch tensor: its type, its value in the graph, and the memory it shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flopscope.errors import TraceError
from flopscope.graph import Tensor as Value
from flopscope.graph import TensorType

DTYPE_NAMES: dict[torch.dtype, str] = {
    value: str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)
}

CELL = "_flopscope_cell"
"""The attribute under which a tensor that a trace made carries its cell. Tensors of the user never carry one."""


class Cell:
    """The state of one live tensor during one trace.

    Cells that share memory share a root, and the root knows what was last written to the memory (``written``). A cell that has ``seen``
    something else shows a value that is out of date. ``concrete`` on the root says that the memory holds true data, and ``from_input``
    that this data comes from the inputs.
    """

    __slots__ = ("above", "concrete", "from_input", "owner", "seen", "storage", "type", "value", "written")

    def __init__(self, owner: object, type: TensorType, value: Value, root: Cell | None) -> None:
        self.owner = owner
        """The trace that this cell belongs to: a tensor that outlives one trace must not carry its cell into the next."""
        self.type = type
        self.value = value
        self.written: Value | None = None
        self.concrete = self.from_input = False
        self.storage: int = value.id if root is None else root.storage
        """The id of the value that the memory was made for."""
        self.above = root
        """The root, or ``None`` for a cell that is its own (a reference to itself would leave work for the garbage collector)."""
        self.seen: Value | None = None if root is None else root.written

    def __del__(self) -> None:
        """Nothing holds the memory any more."""
        if self.above is None:
            owner: Any = self.owner
            owner.deaths.setdefault(self.storage, len(owner.ops))

    def __deepcopy__(self, memo: object) -> Cell:
        """A copied tensor shows the same value."""
        return self

    @property
    def root(self) -> Cell:
        """The cell of the tensor that owns the memory."""
        return self.above or self


class AdoptedCell(Cell):
    """The cell of a tensor that the trace did not make: an input, a weight or a constant of the model."""

    __slots__ = ("real", "tensor", "version")

    def __init__(self, owner: object, tensor: Tensor, value: Value, real: Tensor | None) -> None:
        self.owner = owner
        self.type = value.type
        self.value = value
        self.storage = value.id
        self.above = None
        self.written = self.seen = None
        self.from_input = False
        self.tensor = tensor
        """The tensor itself: it is known by its id, which is only unique while it lives."""
        self.version = None if tensor.is_inference() else tensor._version
        """How often it had been written to when it was met. Autograd looks at this number."""
        self.real = real
        """The data that may be read and written in place of the tensor, or ``None`` where only its shape is known."""
        self.concrete = real is not None

    @property
    def borrows(self) -> bool:
        """Whether the data is the user's own memory, which may be read but not written."""
        return self.real is not None and self.real.device.type == "cpu" and self.real.data_ptr() == _address(self.tensor)

    def restore_version(self) -> None:
        """Undo what torch noted when an op was announced as writing to the tensor, which no op did."""
        if self.version is not None and self.tensor._version != self.version:
            torch._C._autograd._unsafe_set_version_counter((self.tensor,), (self.version,))


NESTED_INSIDE = (
    "the model makes a nested tensor of the strided layout, which cannot be analysed (torch itself does so in attention on jagged "
    "tensors on a CPU). Analyse the model on padded tensors, or make the nested tensor with layout=torch.jagged."
)
_types: dict[tuple[torch.Size, tuple[int, ...], torch.dtype], TensorType] = {}


def type_of(tensor: Tensor) -> TensorType:
    """The interned type of a live tensor."""
    if tensor.is_nested:
        raise TraceError(NESTED_INSIDE)
    if tensor.layout is not torch.strided:
        return TensorType.of(tuple(tensor.shape), DTYPE_NAMES[tensor.dtype], None, elements_stored(tensor))
    key = (tensor.shape, tensor.stride(), tensor.dtype)
    found = _types.get(key)
    if found is None:
        found = _types[key] = TensorType.of(tuple(tensor.shape), DTYPE_NAMES[tensor.dtype], key[1])
    return found


def indices_stored(tensor: Tensor) -> int:
    """How many indices a sparse tensor stores beside its elements."""
    if tensor.layout is torch.sparse_coo:
        return tensor._indices().numel()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices().numel() + tensor.col_indices().numel()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices().numel() + tensor.row_indices().numel()
    return 0


def elements_stored(tensor: Tensor) -> int | None:
    """How many elements a sparse tensor stores."""
    if tensor.layout is torch.sparse_coo:
        return tensor._values().numel()
    return tensor.values().numel() if tensor.layout in _COMPRESSED else None


_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def meta_like(tensor: Tensor) -> Tensor:
    """A meta tensor with the shape, strides and dtype of another and memory of its own; nothing is read or copied."""
    if tensor.layout is not torch.strided:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _address(tensor: Tensor) -> int | None:
    return None if tensor.device.type == "meta" else tensor.data_ptr()


def private_copy(tensor: Tensor) -> Tensor:
    """The data of a tensor in memory of our own on the CPU, where it may be read and written."""
    # A view of a normal tensor must be a normal tensor, so the copy must not be an inference tensor either.
    with torch.inference_mode(tensor.is_inference()):
        return tensor.detach().to("cpu", copy=True)
