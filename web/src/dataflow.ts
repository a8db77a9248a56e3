// What flows between the children of a node, and where it comes in and goes out.

import type { Data } from "./data";
import type { Node, Tree } from "./tree";

export const IN = "in";
export const OUT = "out";

export interface Edge {
  from: string;
  to: string;
  /** How many values flow. */
  count: number;
}

/** The edges between the children of a node by their keys, with what comes from outside and goes there. */
export function edgesOf(data: Data, tree: Tree, node: Node): Edge[] {
  const inside = new Map<number, Node>();
  for (const op of node.context) {
    const child = tree.childWith(node, op);
    if (child) inside.set(op, child);
  }
  const found = new Map<string, Edge>();
  const add = (from: string, to: string) => {
    const name = `${from}\n${to}`;
    const edge = found.get(name) ?? { from, to, count: 0 };
    edge.count += 1;
    found.set(name, edge);
  };
  const returned = new Set(data.facts.outputs);
  for (const [op, child] of inside) {
    for (const read of data.facts.ops.reads[op]) {
      const from = read > 0 ? inside.get(op - read) : undefined;
      if (!from) add(IN, child.key);
      else if (from !== child) add(from.key, child.key);
    }
    if (returned.has(op) || data.readers[op].some((reader) => !inside.has(reader))) add(child.key, OUT);
  }
  return [...found.values()];
}
