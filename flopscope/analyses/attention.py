"""What a report says about masks: whether attention is counted dense, or by the pairs that masks allow."""

from __future__ import annotations

from flopscope.graph import Graph, Signature

_KINDS = ("attention", "multi_head_attention", "transformer_encoder_layer")


def attention_notes(graph: Graph, *, effective: bool) -> list[str]:
    """The notes for a graph that was traced with dense or with effective attention; none where no attention has a mask."""
    masked = [op.signature for op in graph.ops if op.kind in _KINDS and _has_mask(op.signature)]
    if not masked:
        return []
    if not effective:
        return [f"{_ops(len(masked))} counted dense, as dense kernels compute it: every query meets every key"]
    known = [signature["allowed_pairs"] for signature in masked if signature.get("allowed_pairs") is not None]
    notes = [f"{_ops(len(known))} counted effective: only the {sum(known):,} pairs of query and key that masks allow"] if known else []
    if len(known) < len(masked):
        notes.append(f"{_ops(len(masked) - len(known))} counted dense all the same, because the values of the mask are not known")
    return notes


def _has_mask(signature: Signature) -> bool:
    return bool(signature.get("is_causal", False)) or any(signature.get(name) is not None for name in ("attn_mask", "mask"))


def _ops(count: int) -> str:
    return f"masked attention ({count} {'op' if count == 1 else 'ops'}) is"
