"""Which module of one model is which of another: by path, and where a prefix was renamed, by what is under it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flopscope.report.snapshot import Scope

_MOST_PAIRS = 4096
"""Modules of one name and class are compared all with all up to so many pairs; of more, only those whose longer paths agree too."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A prefix of paths that changed."""

    before: str
    """Empty where the prefix is new."""
    after: str
    """Empty where the prefix is gone."""
    modules: int
    """How many modules were matched by it."""

    def __str__(self) -> str:
        before, after = (name or "(no prefix)" for name in (self.before, self.after))
        return f"{before} → {after} ({self.modules} module{'s' * (self.modules > 1)})"


def match(before: Mapping[str, Scope], after: Mapping[str, Scope]) -> tuple[dict[str, str], list[Rename]]:
    """The path before of each path after that has one, and the prefixes that were renamed.

    Equal paths are the same module. Of the others, pairs with the same end of path and class vote for the pair of prefixes before it; the
    pair with the most votes is taken, then the next, unless they are inside modules that are known not to be the same. A single module
    with another name is matched where a sibling of the same class has the same parameters and multiply-accumulates, and there is only one.
    """
    found = {path: path for path in after if path in before}
    old = [path for path in before if path not in found]
    new = [path for path in after if path not in found]
    renames = []
    for (was, now), votes in _votes(before, after, old, new).most_common():
        if votes < 2:
            break
        taken = {other: path for path, other in found.items()}
        if _belong_elsewhere(was, now, found, taken):
            continue
        pairs = [
            (path, other) for path in new if path not in found and (other := _moved(path, now, was)) is not None
            and other in before and other not in taken and _fit(before[other], after[path])
        ]  # fmt: skip
        if len(pairs) >= 2:
            found |= dict(pairs)
            renames.append(Rename(was, now, len(pairs)))
    for path, other in _alone(before, after, found):
        found[path] = other
        renames.append(Rename(other, path, 1))
    return found, renames


def _belong_elsewhere(was: str, now: str, found: Mapping[str, str], taken: Mapping[str, str]) -> bool:
    """Whether the modules around two prefixes are known, and are not the same module: then what is inside is not the same either."""
    if not was or not now:
        return False
    return _parent(was) in taken and _parent(now) in found and found[_parent(now)] != _parent(was)


def _votes(before: Mapping[str, Scope], after: Mapping[str, Scope], old: Sequence[str], new: Sequence[str]) -> Counter[tuple[str, str]]:
    votes: Counter[tuple[str, str]] = Counter()
    for was, now in _pairs(old, new, 1):
        if _fit(before[was], after[now]):
            votes[_prefixes(was, now)] += 1
    return votes


def _pairs(old: Sequence[str], new: Sequence[str], parts: int) -> Iterator[tuple[str, str]]:
    """Paths before and after whose last parts agree."""
    ends: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, paths in enumerate((old, new)):
        for path in paths:
            ends[".".join(path.split(".")[-parts:])][side].append(path)
    for olds, news in ends.values():
        if len(olds) * len(news) <= _MOST_PAIRS:
            yield from ((was, now) for was in olds for now in news)
        elif max(path.count(".") for path in (*olds, *news)) >= parts:
            yield from _pairs(olds, news, parts + 1)
        else:
            yield from zip(olds, news, strict=False)


def _prefixes(was: str, now: str) -> tuple[str, str]:
    """What is left of two paths without their common end."""
    olds, news = was.split("."), now.split(".")
    while olds and news and olds[-1] == news[-1]:
        olds.pop()
        news.pop()
    return ".".join(olds), ".".join(news)


def _moved(path: str, prefix: str, to: str) -> str | None:
    """A path with another prefix; ``None`` where it has not this one."""
    if not prefix:
        return f"{to}.{path}" if path else to
    if path == prefix:
        return to or None
    if not path.startswith(f"{prefix}."):
        return None
    rest = path[len(prefix) + 1 :]
    return f"{to}.{rest}" if to else rest


def _fit(was: Scope, now: Scope) -> bool:
    """Whether the classes agree, as far as both sides say."""
    return was.class_name == now.class_name or not was.class_name or not now.class_name


def _alone(before: Mapping[str, Scope], after: Mapping[str, Scope], found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Single modules with another name beside the same parent: there must be one before and one after that cost the same."""
    kinds: dict[tuple[object, ...], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    taken = set(found.values())
    for path, scope in before.items():
        if path not in taken and (scope.cost.params or scope.cost.macs):
            kinds[_parent(path), scope.class_name, scope.cost.params, scope.cost.macs][0].append(path)
    for path, scope in after.items():
        if path not in found and (scope.cost.params or scope.cost.macs):
            parent = found.get(_parent(path))
            kinds[parent, scope.class_name, scope.cost.params, scope.cost.macs][1].append(path)
    for olds, news in kinds.values():
        if len(olds) == len(news) == 1:
            yield news[0], olds[0]


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
