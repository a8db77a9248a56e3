"""The largest size, such as a batch, at which a model fits into a given memory.

A model is traced at a few sizes. Where it runs the same ops and holds the same pieces of memory at all of them, the bytes of each piece are
a polynomial in the size, which three sizes tell and a fourth one checks. The largest size follows from these without further traces, and
is traced to see that it fits, and the next one to see that it does not. Where no polynomial holds, every step of the search is a trace.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from flopscope.analyses.memory.storages import Storage
from flopscope.analyses.memory.timeline import alive_at, timeline
from flopscope.errors import FlopscopeError, InputError, OptionError, TraceError

_PARTS = 32
MOST = 2**20
"""The largest size that is asked for where everything fits."""


@dataclass(frozen=True)
class Measured:
    """The memory of a model at one size."""

    pieces: Sequence[Storage]
    ops: int
    constant_bytes: int
    """What is there throughout: weights, buffers, the state of an optimizer."""
    name_of: Callable[[Storage], str]
    """What a piece is, for people."""

    @property
    def peak_bytes(self) -> int:
        """The most bytes at any time."""
        found = timeline(self.pieces, self.ops)
        return self.constant_bytes + max(found.peak_bytes, found.before_bytes, found.after_bytes)

    @property
    def peak_at(self) -> int:
        """The first op at which the peak is reached; -1 before the first one."""
        found = timeline(self.pieces, self.ops)
        return -1 if found.peak_at is None or found.before_bytes > found.peak_bytes else found.peak_at

    def at_peak(self) -> list[tuple[str, int]]:
        """What is alive at the peak and its bytes, the largest first."""
        return [(self.name_of(piece), piece.bytes) for piece in alive_at(self.pieces, self.peak_at)]


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer. Sizes are those that the model was asked for."""

    size: int | None
    """The largest that fits; ``None`` where not even the smallest does."""
    limit_bytes: int
    peak_bytes: int
    """At that size, or at the smallest."""
    next_bytes: int | None
    """At the next size; ``None`` where the model takes no next size, or where none was asked for."""
    smallest: int
    step: int
    constant_bytes: int
    alive: list[tuple[str, int]]
    """What is alive at the peak, weights apart, the largest first."""
    coefficients: tuple[Fraction, ...] | None
    """Of 1, of the size, and of its square: the peak from some size to the answer. ``None`` where it is no such polynomial."""
    holds_from: int
    """From which size; the smallest where the peak is one polynomial throughout."""
    by_formula: bool
    """Whether the size was found from a formula, and not by traces alone."""
    traces: int
    refusal: str | None = None
    """What the model raised at the next size, if that is what ended the search."""
    capped: bool = False
    """Whether larger sizes may fit, which were not asked for."""

    @property
    def next_size(self) -> int:
        """The smallest size beyond the answer."""
        return self.smallest if self.size is None else self.size + self.step


def largest(measure: Callable[[int], Measured], limit_bytes: int, *, base: int = 1, step: int = 1, most: int = MOST) -> Fit:
    """Find the largest size at which a model fits.

    Memory must not shrink as the size grows. That is checked at the answer and beside it, by traces.

    Args:
        measure: the memory at a size; it raises `TraceError` or `InputError` where the model does not take it.
        limit_bytes: how much there is.
        base: a size that the model takes.
        step: sizes are multiples of it, as a network that halves an image five times needs multiples of 32.
        most: the largest size to ask for.

    Raises:
        FlopscopeError: the model does not take the base.
        OptionError: the limit, the step or the largest size is nothing to work with.
    """
    if limit_bytes <= 0:
        raise OptionError(f"there must be some memory to fit into, but {limit_bytes:,} bytes are left")
    if step < 1 or most < step:
        raise OptionError(
            f"sizes are multiples of a step of at least 1, up to at least one step, but the step is {step} and the most {most}"
        )
    return _Search(measure, limit_bytes, base, step, most).answer()


class _Search:
    """Counts sizes in steps: the number ``k`` stands for the size ``k * step``."""

    def __init__(self, measure: Callable[[int], Measured], limit: int, base: int, step: int, most: int) -> None:
        self._measure, self._limit, self._step = measure, limit, step
        self._seen: dict[int, Measured | FlopscopeError] = {}
        self._most = most // step
        self._base = min(max(1, base // step), self._most)

    def answer(self) -> Fit:
        smallest = 1 if self._at(1) is not None else self._base
        found = self._at(smallest)
        if found is None:
            raise self._refusal(smallest)
        if found.peak_bytes > self._limit:
            return self._fit(None, found, smallest, None)
        form = _Form.of(self._at, self._base)
        size = None if form is None else self._by_formula(form, smallest)
        by_formula = size is not None
        size = self._bisected(lambda number: self._fits(number), smallest, self._most) if size is None else size
        at = self._at(size)
        assert at is not None
        return self._fit(size, at, smallest, form if by_formula else None)

    def _by_formula(self, form: _Form, smallest: int) -> int | None:
        """The answer of the formula, or ``None`` where traces contradict it."""
        size = self._bisected(lambda number: form.peak_bytes(number) <= self._limit, smallest, self._most)
        if self._at(size) is None:  # the model takes no sizes so large: what is the largest that it does?
            size = self._bisected(lambda number: self._at(number) is not None, smallest, size)
        if form.peak_bytes(size) > self._limit or not form.holds(size, self._at(size)):
            return None
        beyond = self._at(size + 1) if size < self._most else None
        return size if beyond is None or beyond.peak_bytes > self._limit else None

    def _fits(self, number: int) -> bool:
        found = self._at(number)
        return found is not None and found.peak_bytes <= self._limit

    @staticmethod
    def _bisected(fits: Callable[[int], bool], low: int, most: int) -> int:
        """The largest number that fits, if all up to some number do; the lowest one does."""
        high = low + 1
        while high <= most and fits(high):
            low, high = high, 2 * high
        high = min(high, most + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _fit(self, number: int | None, at: Measured, smallest: int, form: _Form | None) -> Fit:
        capped = number is not None and number >= self._most
        beyond = None if number is None or capped else self._at(number + 1)
        refused = number is not None and not capped and beyond is None
        line = None if form is None or number is None else form.peak_over(smallest, number, self._at(smallest))
        return Fit(
            size=None if number is None else number * self._step,
            limit_bytes=self._limit,
            peak_bytes=at.peak_bytes,
            next_bytes=None if beyond is None else beyond.peak_bytes,
            smallest=smallest * self._step,
            step=self._step,
            constant_bytes=at.constant_bytes,
            alive=at.at_peak(),
            coefficients=None if line is None else tuple(term / self._step**power for power, term in enumerate(line[0])),
            holds_from=smallest * self._step if line is None else line[1] * self._step,
            by_formula=form is not None,
            traces=len(self._seen),
            refusal=str(self._refusal(number + 1)) if refused and number is not None else None,
            capped=capped,
        )

    def _at(self, number: int) -> Measured | None:
        if number not in self._seen:
            try:
                self._seen[number] = self._measure(number * self._step)
            except (TraceError, InputError) as error:
                self._seen[number] = error
        found = self._seen[number]
        return found if isinstance(found, Measured) else None

    def _refusal(self, number: int) -> FlopscopeError:
        found = self._seen[number]
        assert isinstance(found, FlopscopeError)
        return found


@dataclass(frozen=True)
class _Form:
    """The memory of a model at any size: the pieces at one, and the polynomial of each."""

    model: Measured
    polynomials: Sequence[tuple[Fraction, ...]]

    @staticmethod
    def of(at: Callable[[int], Measured | None], base: int) -> _Form | None:
        """Fitted to three sizes and checked at a fourth; ``None`` where the model is not the same at all."""
        # A size of 1 is apart in many models: what is broadcast has no memory of its own.
        sizes = (2, 3, 5, 8) if base == 1 else (base, base + 1, base + 3, 2 * base)
        found = [at(size) for size in sizes]
        if found[3] is None and base > 1:
            sizes = (*sizes[:3], base + 6)
            found[3] = at(sizes[3])
        seen = [measured for measured in found if measured is not None]
        if len(seen) < len(sizes) or any(_structure(other) != _structure(seen[0]) for other in seen[1:]):
            return None
        rows = zip(*([piece.bytes for piece in measured.pieces] for measured in seen[:3]), strict=True)
        form = _Form(seen[0], [_parabola(sizes[:3], row) for row in rows])
        return form if form.holds(sizes[3], seen[3]) else None

    def peak_bytes(self, size: int) -> int:
        """The peak at a size."""
        return self._at(size).peak_bytes

    def holds(self, size: int, found: Measured | None) -> bool:
        """Whether the peak at a size is the one that was traced."""
        return found is not None and found.peak_bytes == self.peak_bytes(size)

    def peak_over(self, low: int, high: int, at_low: Measured | None) -> tuple[Sequence[Fraction], int] | None:
        """The polynomial that is the peak at the higher number, and from which number on it is."""
        at = self._at(high)
        alive = {piece.id for piece in alive_at(at.pieces, at.peak_at)}
        total = [Fraction(self.model.constant_bytes), Fraction(0), Fraction(0)]
        for piece, terms in zip(self.model.pieces, self.polynomials, strict=True):
            if piece.id in alive:
                total = [left + right for left, right in zip(total, terms, strict=True)]
        low = low if self.holds(low, at_low) else min(low + 1, high)

        def is_peak(number: int) -> bool:
            return _value(total, number) == self.peak_bytes(number)

        # The peak is the largest of the sums of all ops. Where these are straight lines, it is a convex function, and a line that touches
        # it at two numbers is the peak at all between them.
        if all(not square for _, _, square in self.polynomials):
            return total, bisect_left(range(low, high), True, key=is_peak) + low
        return (total, low) if all(is_peak(low + (high - low) * part // _PARTS) for part in range(_PARTS)) else None

    def _at(self, size: int) -> Measured:
        sizes = (int(_value(terms, size)) for terms in self.polynomials)
        pieces = [replace(piece, bytes=bytes) for piece, bytes in zip(self.model.pieces, sizes, strict=True)]
        return replace(self.model, pieces=pieces)


def _structure(measured: Measured) -> tuple[object, ...]:
    """What must be the same at all sizes for a polynomial to make sense."""
    return measured.ops, measured.constant_bytes, tuple((piece.id, piece.born, piece.died, piece.role) for piece in measured.pieces)


def _parabola(sizes: Sequence[int], values: Sequence[int]) -> tuple[Fraction, ...]:
    """The coefficients of 1, x and x squared of the parabola through three points, by divided differences."""
    (x0, x1, x2), (y0, y1, y2) = sizes, values
    first = Fraction(y1 - y0, x1 - x0)
    second = (Fraction(y2 - y1, x2 - x1) - first) / (x2 - x0)
    return y0 - first * x0 + second * x0 * x1, first - second * (x0 + x1), second


def _value(terms: Sequence[Fraction], size: int) -> Fraction:
    return terms[0] + size * (terms[1] + size * terms[2])
