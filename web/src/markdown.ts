// The totals and the modules that are on the screen, in GitHub's Markdown.

import type { App } from "./app";
import type { Metric } from "./data";
import { exact, shown } from "./format";
import type { Node } from "./tree";

const COLUMNS: [Metric, string][] = [["params", "params"], ["macs", "MACs"], ["flops", "FLOPs"], ["access", "access"]];

/** The report as text: the totals, the children of what is selected (or of what is zoomed to), and the notes. */
export function markdown(app: App, text: (metric: Metric, value: number) => string): string {
  const { facts } = app.data;
  const { total, memory } = facts;
  const least = Number(total.uncounted) ? "at least " : "";
  const top = app.selection?.node.children.length ? app.selection.node : app.zoomed;
  const lines = [
    `### ${cell(facts.model)}`,
    "",
    `- MACs ${least}${exact(total.macs)}`,
    `- FLOPs ${least}${exact(total.flops)}`,
    `- params ${exact(total.params)}`,
    `- access ${least}${exact(total.access)} elements, ${exact(total.access_bytes)} bytes`,
    `- peak memory ${memory.partial ? "at least " : ""}${exact(memory.peak_bytes)} bytes of live tensors`,
    ...facts.uncounted.map(({ op, calls, scope }) => `- NOT COUNTED: ${cell(op)}, ${calls}x, first in ${cell(scope) || "the model itself"}`),
    ...facts.notes.map((note) => `- note: ${cell(note)}`),
    "",
    `| module | class | times | ${COLUMNS.map(([, name]) => name).join(" | ")} |`,
    `| :--- | :--- | ---: | ${COLUMNS.map(() => "---:").join(" | ")} |`,
    row(top, text),
    ...top.children.map((child) => row(child, text)),
  ];
  return `${lines.join("\n")}\n`;
}

function row(node: Node, text: (metric: Metric, value: number) => string): string {
  const values = COLUMNS.map(([metric]) => text(metric, node.values[metric]));
  return `| ${[cell(node.label), cell(node.type), node.repeats, ...values].join(" | ")} |`;
}

/** A name inside a table: nothing in it may end the cell, or be read as markup. */
function cell(name: string): string {
  return shown(name).replace(/[\\`*_{}[\]<>|~#&]/g, (sign) => `\\${sign}`);
}
