"""Linear attention: each token updates a matrix of state and reads from it, so that the work grows with the tokens, not with their pairs."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, expect, prod, rule


@rule(
    "linear_attention",
    flops="2 per MAC; per state element 1 for a gate; with the delta rule per value element 1 to subtract and 1 for the rate; per output 1 for the scale",
    source="Yang et al. 2024, arXiv:2412.06464, eq. 1 to 10",
)
def linear_attention(op: Signature) -> Cost:
    """``[b, t, h, v] = linear_attention([b, t, h, d], [b, t, h', d], [b, t, h', v])``; h' < h are heads with a state each that queries share.

    For every token and state: the outer product of key and value, with the delta rule (``has_delta``) before it the value that the state
    predicts, and for every query a product with the state. A gate (``has_decay``) decays the state by an exponential per key element.
    """
    query, key, value = op["query"], op["key"], op["value"]
    expect(
        query.shape[-1] == key.shape[-1] and key.shape[:-1] == value.shape[:-1], "linear_attention([.., h, d], [.., h', d], [.., h', v])"
    )
    updates = prod(key.shape[:-1])
    state = key.shape[-1] * value.shape[-1]
    delta, decay = bool(op.get("has_delta", False)), op.get("decay")
    macs = updates * state * (2 if delta else 1) + prod(query.shape[:-1]) * state
    gate = 0 if decay is None else updates * state + decay.elements
    rate = 2 * updates * value.shape[-1] if delta else 0
    return count(op, macs=macs, other=gate + rate + op.output.elements)
