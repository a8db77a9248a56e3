// Values of the metric that is shown, as text.

import type { App } from "./app";
import { METRIC_NAMES, type Metric } from "./data";
import { binary, si } from "./format";
import type { Node } from "./tree";

export function valueText(metric: Metric, value: number): string {
  return metric === "made" || metric === "peak" ? binary(value) : metric === "access" ? si(value, "B") : si(value);
}

export function metricName(app: App): string {
  return METRIC_NAMES[app.state.metric].short;
}

const families = new WeakMap<Node, Map<Metric, string>>();

/** The family of most of what is inside a node, in the metric that is shown, and else in FLOPs, access and number of ops. */
export function familyOf(app: App, node: Node): string {
  const { metric } = app.state;
  const known = families.get(node) ?? new Map<Metric, string>();
  families.set(node, known);
  if (!known.has(metric)) known.set(metric, foundFamily(app, metric, app.tree.opsOf(node)));
  return known.get(metric)!;
}

function foundFamily(app: App, metric: Metric, ops: number[]): string {
  const { opValues } = app.data;
  for (const values of [opValues[metric], opValues.flops, opValues.access, null]) {
    const sums = new Map<string, number>();
    for (const op of ops) {
      const family = app.data.of(op, "family");
      sums.set(family, (sums.get(family) ?? 0) + (values ? values[op] : 1));
    }
    const [family, most] = [...sums].reduce((a, b) => (b[1] > a[1] ? b : a), ["other", 0]);
    if (most > 0) return family;
  }
  return "other";
}
