// The tree that the pictures draw: modules with the ops they run themselves as leaves, where whatever repeats is there once.

import { Data, METRICS, type Metric } from "./data";
import { plural, shown } from "./format";

export type Kind = "module" | "op" | "group";

/** What stands for one module, one op, several equal ones, or (a group) for some neighbours that have no module of their own. */
export interface Node {
  key: string;
  kind: Kind;
  /** Everything that it stands for: modules or ops, by number. The first is drawn for all. A group has none of its own. */
  items: number[];
  /** How often it comes in its parent, one after the other. */
  repeats: number;
  label: string;
  /** The class, or the name of the op. */
  type: string;
  parent: Node | null;
  depth: number;
  children: Node[];
  /** The ops of the first of its items. */
  context: number[];
  values: Record<Metric, number>;
}

/** A place in a parent, as all items of the parent have it: equal modules or equal ops. */
interface Slot {
  kind: "module" | "op";
  items: number[];
  /** Equal for what is the same and is called the same but for its number: "q_proj" and "k_proj" are two things. */
  likeness: string;
}

const MOST_CHILDREN = 40; // more are put into sections, so that no picture has to draw thousands side by side
const LONGEST_PERIOD = 400;
const SHORTEST_GROUP = 4; // so many ops without a module of their own must repeat together before they are folded,
const SMALLEST_FOLD = 24; // and so many there must be in all

export class Tree {
  readonly root: Node;
  readonly byKey = new Map<string, Node>();
  readonly ofOp: Node[] = [];
  readonly ofModule: Node[] = [];
  private readonly childrenOf: { kind: "module" | "op"; item: number }[][];
  private readonly structures: number[] = [];

  constructor(private readonly data: Data) {
    this.childrenOf = this.listChildren();
    this.findStructures();
    this.root = this.node({ kind: "module", items: [0], likeness: "" }, [{ kind: "module", items: [0], likeness: "" }], null);
  }

  /** All items inside a node that ops are: those of every repeat. */
  opsOf(node: Node): number[] {
    if (node.kind === "op") return node.items;
    if (node.kind === "group") return node.children.flatMap((child) => this.opsOf(child));
    return node.items.flatMap((module) => this.data.opsOf(module));
  }

  /** The child of a node that an op is in, or null where it is elsewhere. */
  childWith(node: Node, op: number): Node | null {
    let found: Node | null = this.ofOp[op];
    while (found && found.parent !== node) found = found.parent;
    return found;
  }

  private listChildren(): { kind: "module" | "op"; item: number }[][] {
    const { parent } = this.data.facts.modules;
    const found: { kind: "module" | "op"; item: number; first: number }[][] = parent.map(() => []);
    parent.forEach((above, module) => {
      const first = this.data.opsOf(module)[0] ?? Infinity;
      if (above >= 0) found[above].push({ kind: "module", item: module, first });
    });
    this.data.facts.ops.scope.forEach((scope, op) => found[scope].push({ kind: "op", item: op, first: op }));
    found.forEach((children) => children.sort((a, b) => (a.first === b.first ? 0 : a.first - b.first)));
    return found;
  }

  /** Gives equal numbers to modules of one class that hold the same in the same order, down to the shapes. */
  private findStructures(): void {
    const { modules, ops } = this.data.facts;
    const numbers = new Map<string, number>();
    for (let module = modules.parent.length - 1; module >= 0; module--) {
      const inside = this.childrenOf[module].map(({ kind, item }) => (kind === "op" ? `o${ops.signature[item]}x${ops.times[item]}` : `m${this.structures[item]}`));
      const text = [modules.class[module], modules.params[module], ...inside].join(" ");
      if (!numbers.has(text)) numbers.set(text, numbers.size);
      this.structures[module] = numbers.get(text)!;
    }
  }

  /** A node for a slot that comes again in the next ones; `run` holds all of them. */
  private node(slot: Slot, run: Slot[], parent: Node | null): Node {
    const items = run.flatMap((each) => each.items);
    const node = { kind: slot.kind, items, repeats: run.length, parent, depth: parent ? parent.depth + 1 : 0, children: [] as Node[] } as unknown as Node;
    const { facts } = this.data;
    if (slot.kind === "op") {
      node.type = this.data.of(items[0], "target");
      node.label = this.opLabel(items[0], run);
      node.context = [items[0]];
      node.values = this.sum(items, this.data.opValues);
      for (const op of items) this.ofOp[op] = node;
    } else {
      node.type = shown(this.data.text(facts.modules.class[items[0]]));
      node.label = items[0] === 0 ? shown(facts.model) : this.range(run.map((each) => shown(this.moduleName(each.items[0]))));
      node.context = this.data.opsOf(items[0]);
      node.values = this.sum(items, this.data.moduleValues);
      for (const module of items) this.ofModule[module] = node;
    }
    node.key = items.length > 1 ? `block:${this.keyOf(slot.kind, items[0])}` : this.keyOf(slot.kind, items[0]);
    this.byKey.set(node.key, node);
    if (slot.kind === "module") node.children = this.sections(this.fold(this.slots(items), node), node);
    return node;
  }

  private keyOf(kind: "module" | "op", item: number): string {
    return kind === "op" ? `op:${item}` : `module:${this.data.paths[item]}`;
  }

  private opLabel(op: number, run: Slot[]): string {
    const name = this.data.text(this.data.facts.ops.name[op]);
    const target = this.data.of(op, "target");
    const short = target.slice(target.lastIndexOf(":") + 1);
    return shown(run.length === 1 && name ? name.slice(name.lastIndexOf("/") + 1) || name : short);
  }

  private moduleName(module: number): string {
    return this.data.text(this.data.facts.modules.name[module]);
  }

  private range(names: string[]): string {
    return names.length > 1 ? `${names[0]} – ${names[names.length - 1]}` : names[0];
  }

  private slots(modules: number[]): Slot[] {
    const all = modules.map((module) => this.childrenOf[module]);
    return all[0].map(({ kind, item }, place) => {
      const items = all.map((children) => children[place].item);
      const likeness = kind === "op" ? `op ${this.data.facts.ops.signature[item]}` : `${this.structures[item]} ${this.moduleName(item).replace(/\d+/g, "")}`;
      return { kind, items, likeness };
    });
  }

  /** The nodes of some slots, where what repeats, alone or several together, is there once. */
  private fold(slots: Slot[], parent: Node): Node[] {
    const nodes: Node[] = [];
    for (let start = 0; start < slots.length; ) {
      const [period, repeats] = this.repetition(slots, start);
      if (period === 1) nodes.push(this.node(slots[start], slots.slice(start, start + repeats), parent));
      else nodes.push(this.group(slots.slice(start, start + period * repeats), period, parent));
      start += period * repeats;
    }
    return nodes;
  }

  /** How many slots repeat together from a place on, and how often: whatever covers the most. */
  private repetition(slots: Slot[], start: number): [period: number, repeats: number] {
    let best: [number, number] = [1, 1];
    const longest = Math.min(LONGEST_PERIOD, Math.floor((slots.length - start) / 2));
    for (let period = 1; period <= longest; period++) {
      let end = start + period;
      while (end < slots.length && slots[end].likeness === slots[end - period].likeness) end++;
      const repeats = Math.floor((end - start) / period);
      if (repeats > 1 && period * repeats > best[0] * best[1] && this.isWorth(slots.slice(start, start + period), repeats)) best = [period, repeats];
    }
    return best;
  }

  /** Whether some slots that repeat together are better drawn once. */
  private isWorth(together: Slot[], repeats: number): boolean {
    const period = together.length;
    return period === 1 || together.some((slot) => slot.kind === "module") || (period >= SHORTEST_GROUP && period * repeats >= SMALLEST_FOLD);
  }

  private group(slots: Slot[], period: number, parent: Node): Node {
    const repeats = slots.length / period;
    const merged = slots.slice(0, period).map((slot, place) => ({
      ...slot,
      items: Array.from({ length: repeats }, (_, turn) => slots[turn * period + place].items).flat(),
    }));
    const what = this.groupType(merged);
    const label = this.groupLabel(slots);
    const node = this.bare(`block:${this.keyOf(slots[0].kind, slots[0].items[0])}+${period}`, label, what, repeats, parent);
    node.children = this.sections(this.fold(merged, node), node);
    this.close(node, slots.slice(0, period));
    return node;
  }

  private groupType(slots: Slot[]): string {
    const names = new Set(slots.map(({ kind, items }) => (kind === "op" ? "op" : shown(this.data.text(this.data.facts.modules.class[items[0]])))));
    return names.size > 1 || names.has("op") ? plural(slots.length, names.has("op") && names.size === 1 ? "op" : "part") : `${slots.length} ${[...names][0]}`;
  }

  private groupLabel(slots: Slot[]): string {
    const names = [slots[0], slots[slots.length - 1]].map((slot) =>
      slot.kind === "op" ? `#${slot.items[0]}` : shown(this.moduleName(slot.items[0])),
    );
    return this.range(names);
  }

  /** Many children as a few sections of them. */
  private sections(children: Node[], parent: Node): Node[] {
    if (children.length <= MOST_CHILDREN) return children;
    const each = Math.max(Math.ceil(children.length / MOST_CHILDREN), Math.ceil(Math.sqrt(children.length)));
    const found: Node[] = [];
    for (let start = 0; start < children.length; start += each) {
      const part = children.slice(start, start + each);
      const first = part[0].kind === "op" ? `#${part[0].items[0]}` : part[0].label;
      const section = this.bare(`block:${part[0].key}*${part.length}`, `from ${first}`, plural(part.length, "part"), 1, parent);
      section.children = part;
      part.forEach((node) => this.move(node, section));
      section.context = part.flatMap((node) => this.contextWithRuns(node));
      section.values = this.total(part);
      found.push(section);
    }
    return found;
  }

  private contextWithRuns(node: Node): number[] {
    return node.kind === "op" ? node.items.slice(0, node.repeats) : node.context;
  }

  private move(node: Node, parent: Node): void {
    node.parent = parent;
    this.deepen(node, parent.depth + 1);
  }

  private deepen(node: Node, depth: number): void {
    node.depth = depth;
    node.children.forEach((child) => this.deepen(child, depth + 1));
  }

  private bare(key: string, label: string, type: string, repeats: number, parent: Node): Node {
    const node: Node = { key, kind: "group", items: [], repeats, label, type, parent, depth: parent.depth + 1, children: [], context: [], values: this.total([]) };
    this.byKey.set(key, node);
    return node;
  }

  private close(node: Node, slots: Slot[]): void {
    node.context = slots.flatMap((slot) => (slot.kind === "op" ? [slot.items[0]] : this.data.opsOf(slot.items[0]))).sort((a, b) => a - b);
    node.values = this.total(node.children);
  }

  private total(nodes: Node[]): Record<Metric, number> {
    return Object.fromEntries(METRICS.map((metric) => [metric, nodes.reduce((sum, node) => sum + node.values[metric], 0)])) as Record<Metric, number>;
  }

  private sum(items: number[], values: Record<Metric, Float64Array>): Record<Metric, number> {
    return Object.fromEntries(METRICS.map((metric) => [metric, items.reduce((sum, item) => sum + values[metric][item], 0)])) as Record<Metric, number>;
  }
}

/** The nodes from the root to a node, both included. */
export function pathTo(node: Node): Node[] {
  const path: Node[] = [];
  for (let at: Node | null = node; at; at = at.parent) path.unshift(at);
  return path;
}
