"""What a model costs, ready to be asked, printed and saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from flopscope.analyses import totals
from flopscope.analyses.activations import activations_under
from flopscope.analyses.bits import Bits, bits
from flopscope.analyses.conventions import CONVENTIONS, count_under
from flopscope.analyses.experts import ROUTING, Experts, experts
from flopscope.cost import ZERO, Cost
from flopscope.errors import OptionError
from flopscope.graph import Graph
from flopscope.latency.ceilings import Ceilings
from flopscope.latency.device import Device
from flopscope.latency.energy import EnergySource
from flopscope.latency.kernels import Amp, Runtime
from flopscope.latency.roofline import Roofline
from flopscope.latency.source import LatencySource
from flopscope.report import tables, under
from flopscope.report.advice import Advice, advise
from flopscope.report.diff import Diff, diff
from flopscope.report.doctor import Diagnosis, diagnose
from flopscope.report.energy import EnergyReport
from flopscope.report.explain import Explanation, explain_convention
from flopscope.report.explain_number import NumberExplanation, explain_number, parse_number
from flopscope.report.latency import Latency
from flopscope.report.memory import Memory
from flopscope.report.rows import KindRow, ModuleRow, OpRow, metrics
from flopscope.report.schemas import identifier
from flopscope.report.snapshot import snapshot
from flopscope.report.text import INTENSITY_HEADER, TableFormat, intensity_cell, render
from flopscope.report.why import Why, why
from flopscope.report.widths import bits_text
from flopscope.version import __version__

if TYPE_CHECKING:
    import pandas

By = Literal["module", "op", "kind"]
UNUSED = "(parameters that no op reads)"


class Report:
    """The cost of one call of a model.

    Everything is computed from the `graph` when it is first asked for. A report holds no module and no tensor.

    Examples:
        >>> import flopscope, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 2))
        >>> report = flopscope.analyze(model, "1x3x8x8")
        >>> report.name, report.total.macs == 8 * 6 * 6 * 3 * 3 * 3 + 288 * 2, report.complete
        ('Sequential', True, True)
        >>> report.uncounted, report.notes, report.experts  # nothing is left out, and there is nothing else to say
        ([], [], None)
        >>> [(row.path, row.cost.macs) for row in report.by_module(depth=1)]
        [('', 8352), ('0', 7776), ('1', 0), ('2', 0), ('3', 576)]
        >>> [row.kind for row in report.by_kind()], report.ops[0].op
        (['conv', 'linear', 'relu', 'flatten'], 'aten::conv2d')
        >>> report.memory.peak_bytes  # the input, and the results of the convolution and of the activation
        3072
        >>> report.under("thop"), report.activations()  # as others count
        (8352, 290)
        >>> report.bits("w8a8").bops == report.total.macs * 8 * 8
        True
        >>> print(report.to_table("kind"), end="")
        kind       calls    params    MACs    FLOPs    access
        -------  -------  --------  ------  -------  --------
        conv           1       216    7776  15.55 k    2784 B
        linear         1       578     576     1154    3472 B
        relu           1         0       0      288    2304 B
        flatten        1         0       0        0       0 B
        >>> wider = flopscope.analyze(torch.nn.Conv2d(3, 16, 3, bias=False), "1x3x8x8")
        >>> report.diff(wider).totals["macs"].change
        7200
        >>> report.to_dict()["schema"]
        'flopscope.report/1'

    `explain`, `why`, `doctor` and `advise` tell where the numbers come from; `to_text`, `to_markdown`, `to_latex`, `to_csv`, `to_json`,
    `to_dataframe` and `bits_text` write them, `to_html` and `save_html` as one page. `latency` and `energy` tell what it takes on a device.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    # -- questions ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._graph.name

    @cached_property
    def graph(self) -> Graph:
        """The traced graph, with the cost of each op as its annotation ``"cost"``."""
        self._graph.annotations["cost"] = self._op_costs
        return self._graph

    @cached_property
    def total(self) -> Cost:
        """The cost of the whole model. Where it is `partial`, its counts are lower bounds."""
        return totals.total(self._graph)

    @property
    def complete(self) -> bool:
        """Whether every op was priced."""
        return not self.total.partial

    @cached_property
    def uncounted(self) -> list[OpRow]:
        """The ops that no rule prices."""
        return [row for row in self.ops if row.cost.uncounted]

    @property
    def notes(self) -> list[str]:
        """What a reader of any number in this report must know."""
        return [*self._graph.notes, *([ROUTING] if self.experts else [])]

    @cached_property
    def experts(self) -> Experts | None:
        """What one token meets of a model with mixtures of experts, beside what there is; ``None`` for other models."""
        return experts(self._graph)

    @cached_property
    def _op_costs(self) -> list[Cost]:
        return totals.op_costs(self._graph)

    @cached_property
    def ops(self) -> list[OpRow]:
        """Every op in the order in which it ran."""
        rows = []
        for op, cost in zip(self._graph.ops, self._op_costs, strict=True):
            inputs = tuple(type.shape for type in op.signature.inputs)
            outputs = tuple(type.shape for type in op.signature.outputs)
            dtype = op.signature.outputs[0].dtype if op.signature.outputs else ""
            rows.append(
                OpRow(op.index, op.scope, op.target, op.kind, inputs, outputs, dtype, op.signature.attributes, cost, op.name, op.times)
            )
        return rows

    def by_kind(self) -> list[KindRow]:
        """The ops of each kind together, the most expensive first. The rows add up to the total."""
        calls: dict[str, int] = {}
        costs: dict[str, Cost] = {}
        for op, cost in zip(self._graph.ops, self._op_costs, strict=True):
            calls[op.kind] = calls.get(op.kind, 0) + op.times
            costs[op.kind] = costs.get(op.kind, ZERO) + cost
        rows = [KindRow(kind, calls[kind], costs[kind]) for kind in costs]
        rows.sort(key=lambda row: (-row.cost.macs, -row.cost.flops, -row.cost.access_bytes, row.kind))
        unused = self.total.params - sum(row.cost.params for row in rows)
        return [*rows, KindRow(UNUSED, 0, Cost(params=unused))] if unused else rows

    def by_module(self, depth: int | None = None) -> list[ModuleRow]:
        """The module tree, parents before children, each row with everything inside it.

        Args:
            depth: the deepest level to list, where the model itself is level 0; ``None`` lists all.

        Raises:
            OptionError: the depth is negative.
        """
        if depth is not None and depth < 0:
            raise OptionError(f"depth must be 0 or more, but is {depth}")
        costs = totals.module_costs(self._graph)
        rows = []
        for module in self._graph.modules:
            level = totals.depth_of(module)
            if depth is None or level <= depth:
                rows.append(ModuleRow(module.path, module.class_name, level, module.calls, module.output_shape, costs[module.path]))
        return rows or [ModuleRow("", self.name, 0, 1, None, self.total)]

    def under(self, convention: str) -> int:
        """What the model costs as another tool or paper counts it, such as ``"fvcore"``, in the unit of that convention.

        Raises:
            OptionError: there is no such convention.
        """
        return count_under(self._graph, convention)

    def activations(self, convention: str = "fvcore") -> int:
        """How many elements the layers write, in a named convention: ``"fvcore"``, or ``"conv"`` for those of convolutions alone.

        Raises:
            OptionError: there is no such convention.
        """
        return activations_under(self._graph, convention)

    def bits(self, assume: str | None = None) -> Bits:
        """Multiply-accumulates by the widths of weights and activations, bit operations, and the size of the model in bytes.

        Args:
            assume: what the same model would be with other widths, such as ``"w8a8"`` or ``"w4a16"``.

        Raises:
            OptionError: the widths are written in another way.
        """
        return self._bits if assume is None else self._bits.assume(assume)

    @cached_property
    def _bits(self) -> Bits:
        return bits(self._graph)

    @cached_property
    def memory(self) -> Memory:
        """How much memory the call takes: the peak of live tensors, where it is reached, what is alive there, and weights."""
        return Memory(self._graph)

    def latency(
        self,
        on: str | Path | Device | LatencySource,
        *,
        ceilings: Ceilings | None = None,
        runtime: Runtime = "eager",
        amp: Amp | None = None,
    ) -> Latency:
        """How long the call takes on a device, with an error bar: per op, per module, per kind and in all, and which ceiling binds.

        Args:
            on: a device, its name such as ``"rtx4090"``, a TOML file that describes one, or any other source of times.
            ceilings: what the device achieves; by default what is known of it, or assumed parts of its peaks, with a wide error bar.
            runtime: ``"eager"``, or ``"compile"``, which fuses elementwise ops.
            amp: mixed precision, for a model that was traced in float32.

        Raises:
            OptionError: there is no such device, runtime or precision, or a source of times was given options of a device.
        """
        if not isinstance(on, str | Path | Device):
            if ceilings is not None or runtime != "eager" or amp is not None:
                raise OptionError(f"ceilings, runtime and amp belong to a device, but the times are from {on.name}")
            return Latency(self._graph, on)
        return Latency(self._graph, Roofline(on, ceilings, runtime=runtime, amp=amp))

    def energy(
        self, on: str | Path | Device, *, ceilings: Ceilings | None = None, runtime: Runtime = "eager", amp: Amp | None = None
    ) -> EnergyReport:
        """The energy of the call on a device between two bounds: what arithmetic and movement take, and what the device may draw meanwhile.

        Args:
            on: a device, its name, or a TOML file that describes one.
            ceilings: what the device achieves.
            runtime: ``"eager"`` or ``"compile"``.
            amp: mixed precision, for a model that was traced in float32.

        Raises:
            OptionError: there is no such device, or it lists no energies.
        """
        return EnergyReport(self._graph, EnergySource(Roofline(on, ceilings, runtime=runtime, amp=amp)))

    def explain(self, vs: str | float, others: Mapping[str, Report] | None = None) -> Explanation | NumberExplanation:
        """Where the difference to another count comes from.

        Args:
            vs: a convention such as ``"thop"``: the differences add up exactly. Or a number such as ``"4.11G"`` or ``"557M"``: the ways to
                count that give it in all its digits, or the nearest.
            others: reports of the same model on other inputs, to be tried for a number too, by what to call them.

        Raises:
            OptionError: it is neither.
        """
        if vs in CONVENTIONS:
            return explain_convention(self, vs)
        return explain_number(self, parse_number(vs), others or {})

    def why(self, scope: str) -> Why:
        """The formulas of a module's ops with their letters filled in, or of the op of an index (``"#7"``), and their sources.

        Raises:
            OptionError: there is no such module or op; the message names the nearest.
        """
        return why(self, scope)

    def doctor(self) -> Diagnosis:
        """What could not be counted, what depended on data, what was made up and what is never used; and what to write to count more."""
        return diagnose(self)

    def advise(self) -> Advice:
        """Where the model breaks the four guidelines of ShuffleNetV2, what that costs, and what to do."""
        return advise(self)

    def diff(self, other: Report) -> Diff:
        """What changes from this model to another: totals, modules and kinds of op.

        Examples:
            >>> import flopscope, torch
            >>> before, after = (flopscope.analyze(torch.nn.Linear(8, width), "2x8") for width in (4, 6))
            >>> before.diff(after).totals["macs"].change
            32
        """
        return diff(snapshot(self), snapshot(other))

    # -- formats --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Report of {self.name}: {self.total.macs:,} MACs, {self.total.params:,} params>"

    def to_text(
        self, by: By = "module", *, depth: int | None = 3, exact: bool = False, convention: str | None = None, intensity: bool = False
    ) -> str:
        """A table for people, with the exact totals and all notes under it."""
        line = f"{under.line(self, convention)}\n" if convention is not None else ""
        table = self.to_table(by, depth=depth, exact=exact, convention=convention, intensity=intensity)
        return f"{table}\n{tables.summary(self)}{line}"

    def to_table(
        self,
        by: By = "module",
        style: TableFormat = "table",
        *,
        depth: int | None = None,
        exact: bool = False,
        convention: str | None = None,
        intensity: bool = False,
    ) -> str:
        """One of the three tables in one of the formats.

        Args:
            by: ``"module"``, ``"op"`` or ``"kind"``.
            style: ``"table"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
            depth: the deepest level of modules to list.
            exact: whether to write counts in full instead of with four digits.
            convention: a convention to add a column for.
            intensity: whether to add a column of FLOPs per byte.

        Raises:
            OptionError: an argument is outside its allowed values.
        """
        if by not in get_args(By):
            raise OptionError(f"a report can be listed by {', '.join(get_args(By))}, but not by {by!r}")
        if by == "module":
            headers, rows = tables.module_table(self.by_module(depth), style, exact)
        elif by == "kind":
            headers, rows = tables.kind_table(self.by_kind(), exact)
        else:
            headers, rows = tables.op_table(self.ops, exact)
        if convention is not None:
            headers = [*headers, under.header(convention)]
            rows = under.with_column(self, convention, by, depth, rows, exact)
        if intensity:
            headers = [*headers, INTENSITY_HEADER]
            cells = [intensity_cell(row.cost) for row in self._rows(by, depth)]
            rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
        return render(headers, rows, style)

    def bits_text(self, style: TableFormat = "table", *, assume: str | None = None, exact: bool = False) -> str:
        """The breakdown by widths as a table; for people, with the exact totals under it.

        Raises:
            OptionError: there is no such format, or the widths are written in another way.
        """
        return bits_text(self.bits(assume), style, exact)

    def to_markdown(self, by: By = "module", *, depth: int | None = None, exact: bool = False) -> str:
        """A table in GitHub's Markdown."""
        return self.to_table(by, "markdown", depth=depth, exact=exact)

    def to_latex(self, by: By = "module", *, depth: int | None = None, exact: bool = False) -> str:
        """A table in LaTeX, for the package booktabs."""
        return self.to_table(by, "latex", depth=depth, exact=exact)

    def to_csv(self, by: By = "op", *, depth: int | None = None, convention: str | None = None) -> str:
        """Rows with exact counts, one column per metric."""
        headers, rows = tables.flat(self._dicts(by, depth))
        if convention is not None:
            headers = [*headers, convention]
            rows = [[*row, count] for row, count in zip(rows, under.column(self, convention, by, depth), strict=True)]
        return render(headers, rows, "csv")

    def to_dataframe(self, by: By = "op", *, depth: int | None = None) -> pandas.DataFrame:
        """A pandas data frame with exact counts (needs ``flopscope[pandas]``).

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return tables.data_frame(self._dicts(by, depth))

    def to_dict(self, convention: str | None = None, assume: str | None = None) -> dict[str, Any]:
        """The whole report as plain data, with the total under a convention, and the breakdown by widths, which may be assumed ones.

        It keeps to a published schema: ``flopscope.report.schemas.schema("report")``.
        """
        return {
            "schema": identifier("report"),
            "flopscope": __version__,
            "model": self.name,
            "inputs": [str(value.type) for value in self._graph.inputs],
            "complete": self.complete,
            "total": metrics(self.total),
            "bits": self.bits(assume).to_dict(),
            "memory": self.memory.to_dict(),
            "experts": None if self.experts is None else self.experts.to_dict(),
            "notes": self.notes,
            "uncounted": [{"op": row.op, "scope": row.scope} for row in self.uncounted],
            "data_dependent": [{"op": op, "scope": scope} for op, scope in self._graph.data_dependent],
            "kinds": self._dicts("kind", None),
            "modules": self._dicts("module", None),
            "ops": self._dicts("op", None),
            **under.facts(self, convention),
        }

    def to_json(self, indent: int | None = 2, *, convention: str | None = None, assume: str | None = None) -> str:
        """The whole report as JSON."""
        return json.dumps(self.to_dict(convention, assume), indent=indent, default=repr) + "\n"

    def to_html(self) -> str:
        """The report as one page that needs nothing else, for a browser: it asks no network, and its data is in it as JSON."""
        from flopscope.report.html import page_html

        return page_html(self)

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page of `to_html` into a file, and return its path.

        Raises:
            OptionError: the file cannot be written.
        """
        from flopscope.report.html import save

        return save(self, Path(path))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from flopscope.report.html import notebook_html

        return notebook_html(self)

    def _dicts(self, by: By, depth: int | None) -> list[dict[str, Any]]:
        if by not in get_args(By):
            raise OptionError(f"a report can be listed by {', '.join(get_args(By))}, but not by {by!r}")
        return [row.to_dict() for row in self._rows(by, depth)]

    def _rows(self, by: By, depth: int | None) -> list[OpRow] | list[KindRow] | list[ModuleRow]:
        return self.by_module(depth) if by == "module" else self.by_kind() if by == "kind" else self.ops
