"""What a predictor sees of an op or of a block: the features of ProxylessNAS's latency model (its appendix B), and the work.

The appendix names the kind of the operator, the sizes of its input and output feature maps, and other attributes such as the kernel, the
stride and the expansion. Groups, multiply-accumulates and bytes are added, because they carry over to sizes that were not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

from flopscope.cost import FLOPS_PER_MAC
from flopscope.errors import OptionError
from flopscope.graph import Op, Signature, TensorType
from flopscope.latency.block import Block, priced
from flopscope.latency.families import family_of
from flopscope.latency.table.contractions import priced_parts
from flopscope.rules import price

LINEAR = ("dense_macs", "grouped_macs", "other_flops", "access_bytes")
"""The features that a time grows with in a line."""
KIND, FAMILY = "kind=", "family="
"""The prefixes of the features that are 1 for one kind, or one family of kinds, and 0 for all others."""


@singledispatch
def features_of(item: Any) -> dict[str, float]:
    """The features of an `Op`, a `Signature` or a `Block`, by name.

    Raises:
        OptionError: it is none of them.
        InputError: no rule prices an op.
    """
    raise OptionError(f"a predictor sees ops and blocks, but a {type(item).__name__} was given")


@features_of.register
def _of_op(op: Op) -> dict[str, float]:
    return features_of(op.signature)


@features_of.register
def _of_signature(signature: Signature) -> dict[str, float]:
    parts = priced_parts(signature)
    main = parts[0] if len(parts) == 1 else signature
    read = signature.read
    source = read[0] if read else TensorType.of(())
    target = signature.outputs[0] if signature.outputs else TensorType.of(())
    weight = main.get("weight", main.get("b"))
    weight = weight if isinstance(weight, TensorType) else None
    spatial = weight.shape[2:] if weight is not None and main.kind.startswith("conv") else main.get("kernel_size", ())
    return {
        f"{KIND}{signature.kind}": 1,
        **_family(main),
        **_sizes("input", source.shape),
        **_sizes("output", target.shape),
        "weight_elements": weight.elements if weight is not None else 0,
        "kernel": _product(spatial),
        "stride": _product(main.get("stride", ())),
        "groups": _number(main.get("groups", 1)),
        **(_work(parts) if parts == [signature] else _work_of_whole(signature, parts)),
    }


@features_of.register
def _of_block(block: Block) -> dict[str, float]:
    return {
        f"{KIND}{block.kind}": 1,
        **_sizes("input", (1, block.input[-1], *block.input[:-1])),
        **_sizes("output", (1, block.output[-1], *block.output[:-1])),
        "kernel": (block.kernel or 0) ** 2,
        "stride": (block.stride or 0) ** 2,
        "expansion": block.middle / block.input[-1] if block.expand else 0,
        "middle_channels": block.middle if block.expand else 0,
        "skip": block.idskip or 0,
        "squeezes": block.se or 0,
        "hard_swish": block.hs or 0,
        **_work(block.signatures),
    }


def _sizes(name: str, shape: Sequence[int]) -> dict[str, float]:
    """Channels are the second dimension of an image, and the last of anything else."""
    elements = TensorType.of(tuple(shape)).elements
    channels = shape[1] if len(shape) > 2 and len(shape) != 3 else shape[-1] if shape else 1
    return {f"{name}_elements": elements, f"{name}_channels": channels, f"{name}_positions": elements / channels if channels else 0}


def _work(signatures: Sequence[Signature]) -> Mapping[str, float]:
    costs = [priced(signature) for signature in signatures]
    macs = sum(cost.macs for cost in costs)
    grouped = sum(cost.macs for signature, cost in zip(signatures, costs, strict=True) if _number(signature.get("groups", 1)) > 1)
    return {
        "dense_macs": macs - grouped,
        "grouped_macs": grouped,
        "other_flops": sum(cost.flops - FLOPS_PER_MAC * cost.macs for cost in costs),
        "access_bytes": sum(cost.access_bytes for cost in costs),
    }


def _family(signature: Signature) -> dict[str, float]:
    """What an op has in common with ops of other kinds; nothing where no rule prices it, as of most nodes of a runtime."""
    cost = price(signature)
    return {} if cost is None else {f"{FAMILY}{family_of(signature, cost)}": 1}


def _work_of_whole(signature: Signature, parts: Sequence[Signature]) -> Mapping[str, float]:
    """Of a node or a kernel that a runtime has made of several ops: it moves what comes in and goes out, and nothing between."""
    moved = sum(type.bytes(type.stored_elements) for type in (*signature.read, *signature.outputs))
    work = dict(_work(parts))
    return {**work, "other_flops": work["other_flops"] + sum(output.elements for output in signature.outputs), "access_bytes": moved}


def _number(value: Any) -> float:
    return value if isinstance(value, int) else 1


def _product(sizes: Any) -> float:
    """Of a kernel or a stride; 0 for an op that has none."""
    if isinstance(sizes, int):
        return sizes * sizes
    if not isinstance(sizes, Sequence) or not sizes:
        return 0
    product = 1
    for size in sizes:
        product *= size if isinstance(size, int) else 1
    return product
