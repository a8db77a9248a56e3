"""What is remembered of an op call: enough to answer the next call with the same shapes without running anything."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flopscope.frontends.torch.cells import meta_like, type_of
from flopscope.frontends.torch.kinds import normalise
from flopscope.frontends.torch.schema import Schema, mutated_operands, named_arguments, plain
from flopscope.graph import Effect, Signature, TensorType


@dataclass(slots=True, eq=False)
class Entry:
    """The remembered answer to one call."""

    signature: Signature
    templates: tuple[Tensor | None, ...]
    """A meta tensor for each output, to be copied; ``None`` for an output that is absent."""
    normal_templates: tuple[Tensor | None, ...]
    """The same as normal tensors: a view of a normal tensor must be one, and so must any result outside inference mode."""
    sources: tuple[int | None, ...]
    """For each output, the operand that it shares memory with."""
    is_simple: bool
    """Whether the op makes one tensor and does nothing else."""
    overwrites_first: bool = False
    """Whether the op overwrites its first argument, returns it, and does nothing else."""
    returned: tuple[int, ...] | None = None
    """The operands that are themselves the result; ``None`` where the outputs are new tensors."""
    changed: tuple[int, ...] = ()
    """The operands that have a new value after the op, because it wrote to them or returned them."""
    writes: bool = False
    reshaped: tuple[tuple[int, Tensor], ...] = ()
    """The operands whose shape or strides the op changes, each with a meta tensor of the new shape."""
    container: type | None = None
    """``list`` or ``tuple`` where the op returns several outputs."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Results that are plain numbers, each with its place."""
    elements: int = 0
    """Elements of all outputs together."""


class Memo:
    """What one process remembers under one default dtype (on which the results of some ops depend)."""

    __slots__ = ("entries", "signatures")

    def __init__(self) -> None:
        self.entries: dict[Hashable, Entry] = {}
        self.signatures: dict[Hashable, Signature] = {}
        """Signatures of calls that are run for real each time."""


_MEMOS: dict[torch.dtype, Memo] = {}
_MOST_ENTRIES = 200_000


def current_memo() -> Memo:
    """The memo of this process for the present default dtype."""
    dtype = torch.get_default_dtype()
    memo = _MEMOS.setdefault(dtype, Memo())
    if len(memo.entries) + len(memo.signatures) > _MOST_ENTRIES:
        memo = _MEMOS[dtype] = Memo()
    return memo


def clear_memo() -> None:
    """Forget every remembered op, so that the next trace starts cold."""
    _MEMOS.clear()


def entry_of(
    schema: Schema,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    result: Any,
    types: Sequence[TensorType],
    operands: Sequence[Tensor],
    twins: Sequence[Tensor],
) -> Entry:
    """What to remember of a call on ``operands`` of the given types, from its ``result`` on their ``twins``."""
    items = [result] if isinstance(result, Tensor) else list(result or ())
    leaves = [item if isinstance(item, Tensor) else None for item in items]
    written = mutated_operands(schema, args, kwargs)
    sources = tuple(None if leaf is None else shared_memory(leaf, twins) for leaf in leaves)
    returned = tuple(source for leaf, source in zip(leaves, sources, strict=True) if source is not None and leaf is twins[source])
    returns_operands = bool(written or leaves) and len(returned) == len(leaves)
    changed = tuple(dict.fromkeys((*written, *returned)))
    after = [type_of(twins[position]) if position in written else types[position] for position in changed]
    reshaped = tuple(
        (position, meta_like(twins[position])) for position, type in zip(changed, after, strict=True) if type is not types[position]
    )
    made = [] if returns_operands else [type_of(leaf) for leaf in leaves if leaf is not None]
    effect: Effect = (
        "view" if schema.only_reshapes or (not written and leaves and None not in sources) else "inplace" if written else "fresh"
    )
    is_single = isinstance(result, Tensor)
    return Entry(
        signature=describe(schema, args, kwargs, types, (*made, *after), effect),
        templates=tuple(
            None if leaf is None else leaf if source is None else meta_like(leaf) for leaf, source in zip(leaves, sources, strict=True)
        ),
        normal_templates=_normal(leaves),
        sources=sources,
        is_simple=is_single and not changed,
        overwrites_first=is_single and written == returned == changed == (0,) and not reshaped and args[0] is operands[0],
        returned=returned if returns_operands else None,
        changed=changed,
        writes=bool(written),
        reshaped=reshaped,
        container=None if is_single or result is None else list if isinstance(result, list) else tuple,
        sizes=tuple((place, item) for place, item in enumerate(items) if isinstance(item, int)),
        elements=sum(leaf.numel() for leaf in leaves if leaf is not None),
    )


def _normal(leaves: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    with torch.inference_mode(False):
        return tuple(None if leaf is None else meta_like(leaf) for leaf in leaves)


def describe(
    schema: Schema,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    types: Sequence[TensorType],
    outputs: tuple[TensorType, ...],
    effect: Effect,
) -> Signature:
    """The signature of a call whose tensor arguments have the given types, in order."""
    remaining = iter(types)

    def typed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return next(remaining)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
            return tuple(typed(item) for item in value)
        return plain(value)

    # torch passes arguments in the order of the schema, so the types come in that order too.
    arguments = {name: typed(value) for name, value in named_arguments(schema, args, kwargs).items()}
    kind, arguments = normalise(schema.target, arguments)
    if any(type.nonzero is not None for type in types):
        kind = f"sparse_{kind}"
    return Signature(schema.target, kind, arguments, outputs, effect, schema.out_names)


def shared_memory(tensor: Tensor, operands: Sequence[Tensor]) -> int | None:
    """The operand that a tensor shares memory with: itself if it is one, else the first."""
    for position, operand in enumerate(operands):
        if operand is tensor:
            return position
    if tensor.layout is not torch.strided:
        return None
    storage = tensor.untyped_storage()._cdata
    for position, operand in enumerate(operands):
        if operand.layout is torch.strided and operand.untyped_storage()._cdata == storage:
            return position
    return None
