"""What a cell search finds: for each node of a cell, which operation is applied to which earlier state."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import GenotypeError

INPUTS = 2
"""States 0 and 1 of a cell are the outputs of the two cells before it; state 2 is its first node."""
PUBLISHED = Path("published/genotypes.json")
Edge = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Genotype:
    """A normal and a reduction cell, in the layout of Liu et al. 2019 (arXiv:1806.09055).

    Attributes:
        normal: the edges ``(operation, state)`` of the normal cell, two for each node, in the order of the nodes.
        normal_concat: the states whose concatenation is the output of the cell.
        reduce: the edges of the reduction cell, whose first operation on either input halves the resolution.
        reduce_concat: the same for the reduction cell.

    Raises:
        GenotypeError: a cell is empty, a node has no two edges, or an edge or the output names a state that does not exist yet.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_cell("normal", self.normal, self.normal_concat)
        _check_cell("reduce", self.reduce, self.reduce_concat)

    def __str__(self) -> str:
        return f"{_described('normal', self.normal, self.normal_concat)}\n{_described('reduction', self.reduce, self.reduce_concat)}"

    def count(self, operation: str) -> int:
        """How many edges of the two cells apply an operation."""
        return sum(name == operation for name, _ in (*self.normal, *self.reduce))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in the layout in which genotypes are published."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Genotype:
        """Read plain data.

        Raises:
            GenotypeError: it is no genotype.
        """
        fields = ("normal", "normal_concat", "reduce", "reduce_concat")
        if not isinstance(data, Mapping) or sorted(data) != sorted(fields):
            found = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
            raise GenotypeError(f"a genotype has the keys {', '.join(fields)}, but this has {found}")
        edges = {name: _edges(name, data[name]) for name in ("normal", "reduce")}
        concat = {name: _states(name, data[name]) for name in ("normal_concat", "reduce_concat")}
        return cls(edges["normal"], concat["normal_concat"], edges["reduce"], concat["reduce_concat"])

    def save(self, path: Path) -> None:
        """Write the genotype as JSON.

        Raises:
            GenotypeError: the file cannot be written.
        """
        try:
            path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise GenotypeError(f"cannot write the genotype to {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Genotype:
        """Read a genotype that `save` wrote.

        Raises:
            GenotypeError: the file cannot be read, or holds no genotype.
        """
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except GenotypeError as error:
            raise GenotypeError(f"{path} holds no genotype: {error}") from error
        except OSError as error:
            raise GenotypeError(f"cannot read a genotype from {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise GenotypeError(f"{path} is no JSON file: {error}") from error


def published(name: str | None = None) -> dict[str, Genotype]:
    """The genotypes of published searches (DARTS_V2, PDARTS, ...), from the folder that FLOPSCOPE_DATA names; one if it is named.

    Raises:
        GenotypeError: the folder is not there, or has no genotype of that name.
    """
    folder = os.environ.get("FLOPSCOPE_DATA")
    if not folder:
        raise GenotypeError("published genotypes are read from the folder of published data; set FLOPSCOPE_DATA to it")
    path = Path(folder) / PUBLISHED
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GenotypeError(f"FLOPSCOPE_DATA names {folder}, but {path} cannot be read: {error}") from error
    if not isinstance(found, Mapping):
        raise GenotypeError(f"FLOPSCOPE_DATA names {folder}, but {path} holds no table of genotypes")
    if name is None:
        return {key: Genotype.from_dict(value) for key, value in found.items()}
    if name not in found:
        raise GenotypeError(f"there is no published genotype {name!r} in {path}; there are {', '.join(found)}")
    return {name: Genotype.from_dict(found[name])}


def _check_cell(name: str, edges: Sequence[Edge], concat: Sequence[int]) -> None:
    if not edges or len(edges) % 2:
        raise GenotypeError(f"the {name} cell of a genotype needs two edges for each node, but has {len(edges)} edges")
    for position, (operation, state) in enumerate(edges):
        node = position // 2
        if not 0 <= state < INPUTS + node:
            raise GenotypeError(
                f"edge {position} of the {name} cell applies {operation!r} to state {state}, but node {node} can only see states "
                f"0 to {INPUTS + node - 1}"
            )
    last = INPUTS + len(edges) // 2 - 1
    if not concat or any(not 0 <= state <= last for state in concat):
        raise GenotypeError(f"the output of the {name} cell must be states among 0 to {last}, but is {list(concat)}")


def _edges(name: str, data: Any) -> tuple[Edge, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise GenotypeError(f"{name!r} must be a list of [operation, state], but is {data!r}")
    for edge in data:
        good = isinstance(edge, Sequence) and len(edge) == 2 and isinstance(edge[0], str) and type(edge[1]) is int
        if not good:
            raise GenotypeError(f"{name!r} must be a list of [operation, state], but holds {edge!r}")
    return tuple((edge[0], edge[1]) for edge in data)


def _states(name: str, data: Any) -> tuple[int, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str) or any(type(state) is not int for state in data):
        raise GenotypeError(f"{name!r} must be a list of states, but is {data!r}")
    return tuple(data)


def _described(name: str, edges: Sequence[Edge], concat: Sequence[int]) -> str:
    nodes = [
        f"  {INPUTS + index} = {left}({left_state}) + {right}({right_state})"
        for index, ((left, left_state), (right, right_state)) in enumerate(zip(edges[::2], edges[1::2], strict=True))
    ]
    return "\n".join([f"{name} cell, output {' '.join(map(str, concat))}", *nodes])
