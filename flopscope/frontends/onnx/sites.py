"""The place of a node that puts ops into the graph itself: one that takes sequences, or holds graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flopscope.frontends.onnx.blocks import Block, Pending
from flopscope.frontends.onnx.values import Value
from flopscope.graph import Signature

if TYPE_CHECKING:
    import onnx

    from flopscope.frontends.onnx.facts import Context
    from flopscope.frontends.onnx.walker import Env, Walker


class Site:
    """Where a node stands: what is needed to put ops into the graph."""

    def __init__(self, walker: Walker, node: onnx.NodeProto, env: Env, block: Block, context: Context) -> None:
        self.walker, self.node, self.env, self.block, self.context = walker, node, env, block, context
        self.name = node.output[0]
        self.scope = walker.scope_of(node, context)

    def add(self, kind: str, arguments: Mapping[str, Any], reads: Sequence[Value], makes: Sequence[Value], *, view: bool = False) -> None:
        """An op that reads tensors and makes others."""
        types = tuple(value.type for value in makes if value.type is not None)
        for value in makes:
            assert value.type is not None
            value.tensor = self.walker.tensor(value.type)
        signature = Signature(f"{self.node.domain or 'ai.onnx'}::{self.node.op_type}", kind, arguments, types, "view" if view else "fresh")
        made = tuple(value.tensor for value in makes if value.tensor is not None)
        self.block.entries.append(Pending(signature, tuple(map(self.walker.place_of, reads)), made, self.scope, self.node.name, view))
