"""G3: fragmentation reduces the degree of parallelism.

A block of many small ops side by side keeps a parallel device less busy than one large op with as many FLOPs, and every op has to be
started and waited for (Ma et al. 2018, arXiv:1807.11164, section 2, G3, table 3). As in the paper, the fragments are the convolutions and
poolings (13 in a block of NASNet-A, 2 or 3 in one of ResNet), and the products of linear layers and attention with them. A fragment's
*step* is the length of the longest chain of fragments that ends with it; fragments of one step could run at the same time. Of a block with
n fragments in s steps, n - s would not be there if each step were one op.

A block is fragmented that has three or more fragments in one step, and half as many more than steps: two side by side are a shortcut, which
the networks that the paper recommends have too, and a long chain with a few more beside it is none. Blocks are modules, the smallest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from flopscope.analyses import totals
from flopscope.analyses.advice.finding import Finding, Place, gathered
from flopscope.graph import Graph, Op

SIDE_BY_SIDE = 3
"""The fewest fragments in one step that make a block fragmented."""
PER_STEP = Fraction(3, 2)
"""The fewest fragments per step, over the whole block, that do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How the fragments of some ops depend on each other."""

    widths: tuple[int, ...]
    """How many fragments each step has."""
    sharing: int
    """The most fragments of one step that read the same tensor in the same way, so that one larger op could take their place."""

    @property
    def fragments(self) -> int:
        """How many there are."""
        return sum(self.widths)

    @property
    def steps(self) -> int:
        """The length of the longest chain."""
        return len(self.widths)

    @property
    def fragmented(self) -> bool:
        """Whether there are so many side by side, at one step and on the whole."""
        return self.parallel >= SIDE_BY_SIDE and self.fragments >= PER_STEP * self.steps

    @property
    def parallel(self) -> int:
        """The most in one step."""
        return max(self.widths, default=0)

    def __str__(self) -> str:
        if self.fragments == 1:
            return "1-fragment"
        if self.parallel <= 1 or self.steps == 1:
            return f"{self.fragments}-fragment-{'series' if self.steps > 1 else 'parallel'}"
        return f"{self.fragments} fragments in {self.steps} steps, up to {self.parallel} at once"


def is_fragment(op: Op) -> bool:
    """Whether an op is a convolution, pooling or other product: what a building block is made of, besides what binds it together."""
    return bool(totals.cost_of(op.signature).macs) or "pool" in op.kind


def profile(ops: Sequence[Op], inside: Sequence[Op] | None = None) -> Profile:
    """How fragments depend on each other.

    Args:
        ops: a stretch of a graph, which dataflow is followed through.
        inside: the ops whose fragments count; all by default.
    """
    counting = None if inside is None else {op.index for op in inside}
    step_of: dict[int, int] = {}
    widths: Counter[int] = Counter()
    readers: Counter[tuple[object, ...]] = Counter()
    for op in ops:
        step = max((step_of.get(value.id, 0) for value in op.inputs), default=0)
        if (counting is None or op.index in counting) and is_fragment(op):
            step += 1
            widths[step] += op.times
            if op.inputs:
                readers[step, op.inputs[0].id, op.kind, _way(op)] += op.times
        for value in op.outputs:
            step_of[value.id] = step
    shared = max(readers.values(), default=0)
    return Profile(tuple(widths[step] for step in range(1, len(widths) + 1)), shared if shared > 1 else 0)


def _way(op: Op) -> tuple[object, ...]:
    """What has to be equal for two layers to be one with more outputs."""
    attributes = op.signature.attributes
    kernel = op.inputs[1].shape[2:] if len(op.inputs) > 1 else ()
    return (kernel, *(str(attributes.get(name)) for name in ("stride", "padding", "dilation", "groups", "kernel_size")))


def fragments(graph: Graph) -> Finding:
    """How fragmented a graph is, and which of its blocks are."""
    live = _live(graph)
    whole = profile(live)
    classes = {module.path: module.class_name for module in graph.modules}
    places = []
    for scope, found in _blocks(graph, live):
        merge = f"; {found.sharing} could be one op" if found.sharing else ""
        places.append(Place(scope, classes.get(scope, ""), f"{found}{merge}", found.fragments - found.steps, found.fragments))
    amount, held = sum(place.amount for place in places), sum(place.ops for place in places)
    blocks = "1 block holds" if len(places) == 1 else f"{len(places):,} blocks hold"
    return Finding(
        "G3", "little fragmentation", not places, f"no block with {SIDE_BY_SIDE} fragments side by side, {float(PER_STEP)} per step",
        amount, whole.fragments, "ops",
        said=f"The graph has {whole.fragments:,} fragments (convolutions, products, poolings) in {whole.steps:,} steps, up to "
        f"{whole.parallel:,} side by side."
        + (f" {blocks} {held:,} of them, {amount:,} more than steps." if places else ""),
        advice="Merge layers that read the same tensor into one, by concatenating their weights; use fewer and larger branches, or leave "
        "branches out.",
        places=gathered(places),
        facts={"fragments": whole.fragments, "steps": whole.steps, "parallel": whole.parallel, "widths": list(whole.widths)},
    )  # fmt: skip


def _live(graph: Graph) -> list[Op]:
    """The ops that depend on the inputs. What is computed from weights alone waits for nothing, and would seem to lie beside everything."""
    known = {value.id for value in graph.inputs}
    found = []
    for op in graph.ops:
        if not known.isdisjoint(value.id for value in op.inputs):
            found.append(op)
            known.update(value.id for value in op.outputs)
    return found if known else graph.ops


def _blocks(graph: Graph, live: Sequence[Op]) -> list[tuple[str, Profile]]:
    """The smallest modules that are fragmented."""
    idle = {module.path for module in graph.modules if module.calls == 0}
    members: dict[str, list[Op]] = {}
    counts: Counter[str] = Counter()
    position = {op.index: place for place, op in enumerate(live)}
    for op in live:
        fragment = is_fragment(op)
        for path in totals.ancestors(op.scope):
            members.setdefault(path, []).append(op)
            counts[path] += op.times if fragment else 0
    found: list[tuple[str, Profile]] = []
    taken: set[str] = set()
    for path in sorted(members, key=lambda path: -path.count(".") - bool(path)):
        if counts[path] < SIDE_BY_SIDE or path in taken or path in idle:
            continue
        ops = members[path]
        # A module that was called more than once depends on itself through what ran in between.
        block = profile(live[position[ops[0].index] : position[ops[-1].index] + 1], ops)
        if block.fragmented:
            found.append((path, block))
            taken.update(totals.ancestors(path))
    return sorted(found, key=lambda pair: members[pair[0]][0].index)
