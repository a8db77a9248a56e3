// All there is to say about what is selected.

import type { App, Selection } from "./app";
import { METRICS, METRIC_NAMES, type Metric } from "./data";
import { h, replace } from "./dom";
import { exact, percent, plural, ratio, shown } from "./format";
import { panel } from "./panel";
import type { Node } from "./tree";
import { valueText } from "./values";

const LISTED = 12;
const LISTED_WITHIN = 7;
const LONGEST = 20; // characters

export function details(app: App): HTMLElement {
  const { element, body, caption } = panel("details", "Selection");
  caption.remove();
  const draw = () => replace(body, ...(app.selection ? about(app, app.selection) : nothing(app)));
  draw();
  app.on((changed) => (changed.has("select") || changed.has("metric")) && draw());
  return element;
}

/** Before anything is selected: where the most of the metric is, as a list to begin with. Equal ops are one line. */
function nothing(app: App): HTMLElement[] {
  const { data } = app;
  const { metric } = app.state;
  const values = metric === "params" ? data.params : data.opValues[metric];
  const sums = [...new Set(app.tree.ofOp)].map((node) => ({ node, value: node.items.reduce((sum, op) => sum + values[op], 0) }));
  const best = sums.filter(({ value }) => value > 0).sort((a, b) => b.value - a.value).slice(0, LISTED);
  const items = best.map(({ node, value }) => {
    const path = shown(data.scope(node.items[0])) || shown(data.facts.model);
    return line(app, node, ending(path), node.items.length, node.label, value);
  });
  return [
    h("p", { class: "hint" }, "Select a cell, a node, a point or a row: it is highlighted in all views, and told about here."),
    h("h3", {}, `Largest by ${METRIC_NAMES[metric].short}`),
    items.length ? h("ol", { class: "best" }, ...items) : h("p", { class: "empty" }, "None."),
  ];
}

/** The end of a long path, which tells more than its beginning. */
function ending(path: string): string {
  return path.length > LONGEST ? `…${path.slice(1 - LONGEST)}` : path;
}

function about(app: App, found: Selection): HTMLElement[] {
  const parts = found.op !== null ? opFacts(app, found.op) : nodeFacts(app, found);
  return [...parts, valuesTable(app, found), ...within(app, found.node)];
}

/** The children of a node with the most of the metric. */
function within(app: App, node: Node): HTMLElement[] {
  const { metric } = app.state;
  const best = node.children.filter((child) => child.values[metric] > 0).sort((a, b) => b.values[metric] - a.values[metric]).slice(0, LISTED_WITHIN);
  const items = best.map((child) => line(app, child, child.label, child.repeats, child.type, child.values[metric]));
  return items.length ? [h("h3", {}, "Inside"), h("ol", { class: "best" }, ...items)] : [];
}

function line(app: App, node: Node, name: string, times: number, type: string, value: number): HTMLElement {
  return h(
    "li",
    {},
    h("button", { type: "button", class: "link", onclick: () => app.select(node.key) }, h("bdi", {}, name)),
    h("span", { class: "type" }, times > 1 ? h("span", { class: "badge" }, `${times}×`) : null, ` ${type}`),
    h("span", { class: "number" }, percent(app.share(value))),
  );
}

function opFacts(app: App, op: number): HTMLElement[] {
  const { data } = app;
  const name = data.text(data.facts.ops.name[op]);
  const times = data.facts.ops.times[op];
  return [
    h("p", { class: "what" }, h("code", {}, shown(data.of(op, "target")))),
    list([
      ["module", shown(data.scope(op)) || shown(data.facts.model)],
      ["op", `${op}${times > 1 ? `, runs ${times} times` : ""}`],
      ["name", shown(name)],
      ["family", data.facts.families[data.of(op, "family")]],
      ["inputs", data.of(op, "inputs") || "none"],
      ["outputs", `${data.of(op, "outputs") || "none"} ${data.of(op, "dtype")}`],
      ["attributes", shown(data.of(op, "attributes"))],
      ["FLOPs per byte", data.intensity(op) ? ratio(data.intensity(op)) : "0"],
    ]),
  ];
}

function nodeFacts(app: App, found: Selection): HTMLElement[] {
  const { data } = app;
  const { node } = found;
  const module = found.module ?? node.items[0];
  const isModule = node.kind === "module";
  const path = isModule ? shown(data.paths[module]) || shown(data.facts.model) : node.label;
  const count = node.kind === "group" ? node.repeats : node.items.length;
  const several = found.module === null && count > 1 ? `${count} equal ones, drawn once` : "";
  return [
    h("p", { class: "what" }, h("bdi", {}, path)),
    list([
      ["class", node.type],
      ["stands for", several],
      ["calls", isModule ? String(data.facts.modules.calls[module]) : ""],
      ["output", isModule ? data.text(data.facts.modules.output[module]) : ""],
      ["ops", plural(found.ops.size, "op")],
    ]),
  ];
}

function list(pairs: [string, string][]): HTMLElement {
  const kept = pairs.filter(([, text]) => text);
  return h("dl", {}, ...kept.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, h("bdi", {}, text))]));
}

function valuesTable(app: App, found: Selection): HTMLElement {
  const rows = METRICS.map((metric) => {
    const value = valueOf(app, found, metric);
    const total = app.data.totals[metric];
    const share = total ? value / total : 0;
    return h(
      "tr",
      { class: metric === app.state.metric ? "current" : "" },
      h("th", { scope: "row" }, METRIC_NAMES[metric].short),
      h("td", { title: exact(value) }, valueText(metric, value)),
      h("td", { class: "bar-cell", "aria-hidden": "true" }, h("span", { class: "bar", "--share": Math.min(1, share) })),
      h("td", {}, percent(share)),
    );
  });
  return h(
    "table",
    { class: "values" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "metric"), h("th", { scope: "col" }, "value"), h("th", { scope: "col", colspan: 2 }, "of the model"))),
    h("tbody", {}, ...rows),
  );
}

function valueOf(app: App, found: Selection, metric: Metric): number {
  const { data } = app;
  if (found.op !== null) return metric === "params" ? data.params[found.op] : data.opValues[metric][found.op];
  return found.module !== null ? data.moduleValues[metric][found.module] : found.node.values[metric];
}
