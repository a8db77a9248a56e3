"""Dimensions made of channel groups, and the equations between them.

A *dim* is a row of terms, in the order in which its channels lie: ``[n, 2*m, 16]`` is a concatenation of n channels, of m channels of
which each stands twice in a row, and of 16 that are fixed. A term is a whole number times a product of *units*: variables that stand for
whole numbers. Every dimension of every weight begins as a unit of its own. The ops say which dims are equal, and equations are solved as
they come, by giving units definitions: a residual addition makes two units one, a group count g makes a unit g times another, a split
makes it the sum of two. What cannot be solved is *frozen*: its units become the numbers that they are in the traced model, for a stated
reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm, prod
from typing import Any

Term = tuple[int, tuple[int, ...]]
"""A whole number times a product of units (by index), outermost first."""
Dim = tuple[Term, ...]
Dims = tuple[Dim, ...]
"""The dims of a tensor."""


def fixed(size: int) -> Dim:
    """A dim that never changes."""
    return ((size, ()),)


def is_fixed(dim: Dim) -> bool:
    """Whether no unit is in a dim."""
    return all(not units for _, units in dim)


@dataclass(frozen=True, slots=True)
class Flexible:
    """Which of several dimensions made from one may change."""

    asked: int | None = None
    """The one whose size the model leaves open (``-1``)."""
    likely: int | None = None
    """The one that changes in most models, where the model does not say."""

    def after(self, dropped: int) -> Flexible:
        """The same, for the dimensions after the first few."""
        asked, likely = (None if place is None else place - dropped for place in (self.asked, self.likely))
        return Flexible(asked, likely)


@dataclass(frozen=True, slots=True)
class _Factored:
    """A unit that was taken apart."""

    parts: list[Dim]
    flexible: Flexible
    reason: str


class Units:
    """The units of a traced model, with what is known of them. Sizes in the traced model are called base sizes."""

    def __init__(self) -> None:
        self._base: list[int] = []
        self._definitions: list[Dim | None] = []
        self._reasons: dict[int, str] = {}
        self._factored: list[_Factored] = []
        self.guesses: list[str] = []
        """Where a reshape took channels apart without saying which part is fixed, after `settle`."""

    # -- units ----------------------------------------------------------------------------------------------

    def new(self, base: int) -> Dim:
        """A dim of a unit that nothing is known of. A size of one, or of nothing, stays what it is."""
        if base < 2:
            return fixed(base)
        self._base.append(base)
        self._definitions.append(None)
        return ((1, (len(self._base) - 1,)),)

    def size(self, dim: Dim) -> int:
        """The base size of a dim."""
        return sum(self._term_size(term) for term in dim)

    def _term_size(self, term: Term) -> int:
        return term[0] * prod(self._base[unit] for unit in term[1])

    def resolve(self, dim: Dim) -> Dim:
        """The dim in units that have no definition; neighbours that are fixed become one term."""
        found: list[Term] = []
        for term in dim:
            for coefficient, units in self._expanded(term):
                if not units and found and not found[-1][1]:
                    found[-1] = (found[-1][0] + coefficient, ())
                else:
                    found.append((coefficient, units))
        kept = [term for term in found if term[0] != 0]
        return tuple(kept) or fixed(0)

    def _expanded(self, term: Term) -> list[Term]:
        coefficient, units = term
        for position, unit in enumerate(units):
            definition = self._definitions[unit]
            if definition is not None:
                before, after = units[:position], units[position + 1 :]
                parts = [(coefficient * times, (*before, *members, *after)) for times, members in definition]
                return [found for part in parts for found in self._expanded(part)]
        return [term]

    def _define(self, unit: int, dim: Dim) -> None:
        self._definitions[unit] = dim

    def freeze(self, dim: Dim, reason: str) -> None:
        """Make the units of a dim numbers. An empty reason says that it needs none, as for the size of a kernel."""
        for _, units in self.resolve(dim):
            for unit in units:
                if self._definitions[unit] is None:
                    self._definitions[unit] = fixed(self._base[unit])
                    self._reasons[unit] = reason

    def reasons(self, dim: Dim) -> list[str]:
        """Why the frozen units in a dim are frozen."""
        found: list[str] = []
        stack = [unit for _, units in dim for unit in units]
        while stack:
            unit = stack.pop()
            if self._reasons.get(unit):
                found.append(self._reasons[unit])
            stack += [member for _, members in self._definitions[unit] or () for member in members]
        return list(dict.fromkeys(found))

    # -- equations ------------------------------------------------------------------------------------------

    def equate(self, one: Dim, other: Dim, reason: str) -> None:
        """Two dims are the same channels in the same order. Where that has no solution but the base sizes, both are frozen."""
        left, right = list(self.resolve(one)), list(self.resolve(other))
        if self.size(one) != self.size(other):
            self.freeze(one, reason)
            self.freeze(other, reason)
            return
        while left and right:
            left, right = list(self.resolve(tuple(left))), list(self.resolve(tuple(right)))
            first, second = left.pop(0), right.pop(0)
            have, want = self._term_size(first), self._term_size(second)
            if have > want:
                first, rest = self._cut_term(first, want, reason)
                left = [rest, *left]
            elif want > have:
                second, rest = self._cut_term(second, have, reason)
                right = [rest, *right]
            self._equate_terms(self.resolve((first,)), self.resolve((second,)), reason)

    def _equate_terms(self, one: Dim, other: Dim, reason: str) -> None:
        if one == other:
            return
        if len(one) != 1 or len(other) != 1:  # a cut has frozen or divided one of them
            self._freeze_both(one, other, reason)
            return
        (times, units), (others, members) = one[0], other[0]
        if len(units) > len(members) or (len(units) == len(members) == 1 and units[0] < members[0]):
            (times, units), (others, members) = (others, members), (times, units)
        if len(units) == 1 and units[0] not in members and others % times == 0 and members:
            self._define(units[0], ((others // times, members),))
        elif len(units) == len(members) == 1 and units != members:
            self._equate_multiples((times, units[0]), (others, members[0]))
        elif len(units) == len(members) > 1 and times == others and self._bases(units) == self._bases(members):
            for unit, member in zip(units, members, strict=True):
                self.equate(((1, (unit,)),), ((1, (member,)),), reason)
        else:
            self._freeze_both(one, other, reason)

    def _equate_multiples(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        """``a*u = b*v``: both are multiples of the least common multiple of a and b."""
        (times, unit), (others, member) = one, other
        whole = lcm(times, others)
        shared = self.new(times * self._base[unit] // whole)
        self._define(unit, self._times(shared, whole // times))
        self._define(member, self._times(shared, whole // others))

    def _freeze_both(self, one: Dim, other: Dim, reason: str) -> None:
        self.freeze(one, reason)
        self.freeze(other, reason)

    def _bases(self, units: Sequence[int]) -> list[int]:
        return [self._base[unit] for unit in units]

    @staticmethod
    def _times(dim: Dim, factor: int) -> Dim:
        return tuple((coefficient * factor, units) for coefficient, units in dim)

    # -- cutting and dividing -------------------------------------------------------------------------------

    def _cut_term(self, term: Term, size: int, reason: str) -> tuple[Term, Term]:
        """A term as its first so many channels, and the others."""
        coefficient, units = term
        if not units:
            return (size, ()), (coefficient - size, ())
        if len(units) == 1 and coefficient == 1:
            first, rest = self.new(size), self.new(self._base[units[0]] - size)
            self._define(units[0], (*first, *rest))
            return first[0], rest[0]
        whole = self._term_size(term)
        self.freeze((term,), reason)
        return (size, ()), (whole - size, ())

    def cut(self, dim: Dim, sizes: Sequence[int], reason: str) -> list[Dim]:
        """The pieces of a dim that have these base sizes, in order."""
        pieces = []
        left = list(self.resolve(dim))
        for size in sizes:
            piece: list[Term] = []
            needed = size
            while needed > 0:
                left = list(self.resolve(tuple(left)))
                term = left.pop(0)
                have = self._term_size(term)
                if have > needed:
                    term, rest = self._cut_term(term, needed, reason)
                    left = [rest, *left]
                    have = needed
                piece.append(term)
                needed -= have
            pieces.append(tuple(piece) or fixed(0))
        return pieces

    def divide(self, dim: Dim, divisor: int, reason: str) -> Dim:
        """The dim of a ``divisor``-th of the channels of each term, which makes units multiples where they must be."""
        if divisor == 1:
            return dim
        resolved = self.resolve(dim)
        whole = self.size(resolved) // divisor
        while not is_fixed(resolved):
            odd = next((term for term in resolved if term[0] % divisor), None)
            if odd is None:
                return tuple((coefficient // divisor, units) for coefficient, units in resolved)
            if not self._make_divisible(odd, divisor):
                self.freeze(resolved, reason)
            resolved = self.resolve(resolved)
        return fixed(whole)

    def _make_divisible(self, term: Term, divisor: int) -> bool:
        coefficient, units = term
        needed = divisor // gcd(coefficient, divisor)
        for unit in units:
            if self._base[unit] % needed == 0:
                self._define(unit, self._times(self.new(self._base[unit] // needed), needed))
                return True
        return False

    def divide_equally(self, dim: Dim, parts: int, reason: str) -> Dim:
        """One of so many equal parts that lie one after the other: terms that lie in different parts become equal."""
        resolved = self.resolve(dim)
        whole = self.size(resolved)
        if len(resolved) == 1:
            return self.divide(resolved, parts, reason)
        if whole % parts or is_fixed(resolved):
            self.freeze(resolved, reason)
            return fixed(whole // parts)
        first, *others = self.cut(resolved, [whole // parts] * parts, reason)
        for other in others:
            self.equate(first, other, reason)
        return self.resolve(first)

    # -- reshaping ------------------------------------------------------------------------------------------

    def merge(self, dims: Sequence[Dim], reason: str) -> Dim:
        """One dimension in place of several, the first of which is the outermost."""
        found: Dim = fixed(1)
        for dim in map(self.resolve, dims):
            if len(dim) > 1 and (len(found) > 1 or found != fixed(1)):
                self.freeze(dim, reason)  # the row would stand there many times
                dim = self.resolve(dim)
            times, units = dim[0]
            found = dim if len(dim) > 1 else tuple((coefficient * times, (*members, *units)) for coefficient, members in found)
        return found

    def factor(self, dim: Dim, sizes: Sequence[int], flexible: Flexible, reason: str) -> list[Dim]:
        """Several dimensions of these base sizes in place of one."""
        resolved = self.resolve(dim)
        if is_fixed(resolved):
            return [fixed(size) for size in sizes]
        if len(resolved) > 1:
            return self._factor_row(resolved, sizes, flexible, reason)
        coefficient, units = resolved[0]
        found = self._match(coefficient, units, sizes)
        if found is None and len(units) == 1:
            found = self._factor_unit(coefficient, units[0], sizes, flexible, reason)
        if found is None:
            self.freeze(resolved, reason)
            return [fixed(size) for size in sizes]
        return found

    def _match(self, coefficient: int, units: Sequence[int], sizes: Sequence[int]) -> list[Dim] | None:
        """Give each unit to a dimension that it divides, in order; the coefficient fills up the rest."""
        taken: list[list[int]] = [[] for _ in sizes]
        start = 0
        for unit in units:
            base = self._base[unit]
            open_ = [place for place in range(start, len(sizes)) if sizes[place] // prod(self._bases(taken[place])) % base == 0]
            exact = [place for place in open_ if sizes[place] == base]
            if not open_:
                return None
            start = (exact or open_)[0]
            taken[start].append(unit)
        rest = [size // prod(self._bases(members)) for size, members in zip(sizes, taken, strict=True)]
        if prod(rest) != coefficient:
            return None
        return [((times, tuple(members)),) for times, members in zip(rest, taken, strict=True)]

    def _factor_unit(self, coefficient: int, unit: int, sizes: Sequence[int], flexible: Flexible, reason: str) -> list[Dim] | None:
        """A unit becomes a product of one unit per dimension. Which of them may change is settled later, by `settle`.

        The coefficient belongs to the last dimensions (the positions under each channel), else to the first (a batch around the channels).
        """
        inner, times = len(sizes), coefficient
        while inner > 1 and times % sizes[inner - 1] == 0 and times > 1:
            inner -= 1
            times //= sizes[inner]
        if times != 1:
            inner, times = len(sizes), coefficient
        if sizes[0] % times or prod(sizes[:inner]) != self._base[unit] * times:
            return None
        parts = [self.new(size) for size in (sizes[0] // times, *sizes[1:inner])]
        self._define(unit, self.merge(parts, ""))
        self._factored.append(_Factored(parts, flexible, reason))
        return [self._times(parts[0], times), *parts[1:], *(fixed(size) for size in sizes[inner:])]

    def freeze_factor(self, dim: Dim) -> None:
        """One factor of a reshape is used up by itself (a maximum over it, say), so it is what the model fixes, if it does not say else."""
        for factored in self._factored:
            for position, part in enumerate(factored.parts):
                if self.resolve(part) == self.resolve(dim) and position != factored.flexible.asked:
                    self.freeze(part, "")

    def _factor_row(self, row: Dim, sizes: Sequence[int], flexible: Flexible, reason: str) -> list[Dim]:
        """A row of terms: of equal parts, each of which fills the rest; or a row of multiples of what the last dimensions take."""
        inner = prod(sizes[1:])
        if all(coefficient % inner == 0 for coefficient, _ in row):
            return [tuple((coefficient // inner, units) for coefficient, units in row), *(fixed(size) for size in sizes[1:])]
        if len(sizes) > 1 and sizes[0] > 1:
            part = self.divide_equally(row, sizes[0], reason)
            return [fixed(sizes[0]), *self.factor(part, sizes[1:], flexible.after(1), reason)]
        self.freeze(row, reason)
        return [fixed(size) for size in sizes]

    def settle(self) -> None:
        """Of a unit that was factored, let one factor change: heads, and channels of groups, come and go as a whole."""
        for factored in self._factored:
            free = [position for position, part in enumerate(factored.parts) if not is_fixed(self.resolve(part))]
            if len(free) < 2:
                continue
            flexible = factored.flexible
            keep = next((position for position in (flexible.asked, flexible.likely) if position in free), free[-1])
            if keep != flexible.asked:
                self.guesses.append(factored.reason)
            for position in free:
                if position != keep:
                    self.freeze(factored.parts[position], "")

    def free(self, dims: Sequence[Dim]) -> list[int]:
        """The units without a definition in dims, in the order in which they are met."""
        found: dict[int, None] = {}
        for dim in dims:
            for _, units in self.resolve(dim):
                found.update(dict.fromkeys(units))
        return list(found)

    def base(self, unit: int) -> int:
        """The base size of a unit."""
        return self._base[unit]


def value_of(dim: Dim, units: Any) -> Any:
    """The size of a dim, from the sizes of its units: ints, tensors or symbols, by index."""
    if is_fixed(dim):
        return sum(coefficient for coefficient, _ in dim)
    return sum(coefficient * prod(units[unit] for unit in members) for coefficient, members in dim)
