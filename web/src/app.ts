// What is chosen on the page, who wants to know, and its form in the address.

import { Data, METRICS, type Metric } from "./data";
import { Tree, type Node } from "./tree";

export interface State {
  metric: Metric;
  /** What is selected: a key of the tree, or "op:7" or "module:layer1.0" for one of several that the tree draws once; "" for nothing. */
  select: string;
  /** The key of the node that the picture of modules begins at. */
  zoom: string;
  device: string;
  theme: "auto" | "light" | "dark";
  /** The filter of the table. */
  filter: string;
  /** Whether the table lists only what is selected. */
  only: boolean;
  sort: string;
  /** The keys of the nodes that are open in the graph; "auto" for the first choice. */
  open: string;
}

export interface Selection {
  key: string;
  node: Node;
  /** The ops that belong to it. */
  ops: Set<number>;
  /** The one op that is selected, or the one module, where the node stands for several. */
  op: number | null;
  module: number | null;
}

type Listener = (changed: Set<keyof State>) => void;

export class App {
  readonly tree: Tree;
  readonly defaults: State;
  state: State;
  selection: Selection | null = null;
  private readonly listeners: Listener[] = [];

  constructor(readonly data: Data) {
    this.tree = new Tree(data);
    const metric = METRICS.find((each) => data.totals[each] > 0) ?? "macs";
    const device = data.facts.devices[0]?.key ?? "";
    this.defaults = { metric, select: "", zoom: "", device, theme: "auto", filter: "", only: false, sort: "index", open: "auto" };
    this.state = { ...this.defaults };
    this.read();
    window.addEventListener("hashchange", () => this.set(this.parsed()));
  }

  /** The share of a value in the whole model, in the metric that is shown. */
  share(value: number): number {
    const total = this.data.totals[this.state.metric];
    return total ? value / total : 0;
  }

  on(listener: Listener): void {
    this.listeners.push(listener);
  }

  set(change: Partial<State>): void {
    const changed = new Set<keyof State>();
    for (const key of Object.keys(change) as (keyof State)[]) if (this.state[key] !== change[key]) changed.add(key);
    if (!changed.size) return;
    this.state = { ...this.state, ...change };
    if (changed.has("select")) this.selection = this.found(this.state.select);
    this.write();
    for (const listener of this.listeners) listener(changed);
  }

  select(key: string): void {
    this.set({ select: key });
  }

  /** The node that the picture of modules begins at. */
  get zoomed(): Node {
    return this.tree.byKey.get(this.state.zoom) ?? this.tree.root;
  }

  /** What a key selects, or null where there is no such thing. */
  private found(key: string): Selection | null {
    const { tree, data } = this;
    const node = tree.byKey.get(key);
    if (node) {
      const [op, module] = [node.kind === "op" && node.items.length === 1 ? node.items[0] : null, node.kind === "module" && node.items.length === 1 ? node.items[0] : null];
      return { key, node, ops: new Set(tree.opsOf(node)), op, module };
    }
    if (/^op:\d+$/.test(key)) {
      const op = Number(key.slice(3));
      if (op < data.size) return { key, node: tree.ofOp[op], ops: new Set([op]), op, module: null };
    }
    if (key.startsWith("module:")) {
      const module = data.moduleOf.get(key.slice(7));
      if (module !== undefined) return { key, node: tree.ofModule[module], ops: new Set(data.opsOf(module)), op: null, module };
    }
    return null;
  }

  private read(): void {
    this.state = { ...this.state, ...this.parsed() };
    this.selection = this.found(this.state.select);
  }

  /** The state that the address asks for. What it asks for and is not there is left out. */
  private parsed(): State {
    const asked = new URLSearchParams(location.hash.slice(1));
    const state: State = { ...this.defaults };
    const metric = asked.get("metric") as Metric;
    if (METRICS.includes(metric)) state.metric = metric;
    const select = asked.get("select") ?? "";
    if (this.found(select)) state.select = select;
    const zoom = asked.get("zoom") ?? "";
    if (this.tree.byKey.has(zoom)) state.zoom = zoom;
    const device = asked.get("device");
    if (this.data.facts.devices.some((each) => each.key === device)) state.device = device!;
    const theme = asked.get("theme");
    if (theme === "light" || theme === "dark") state.theme = theme;
    state.filter = asked.get("filter") ?? "";
    state.only = asked.get("only") === "1";
    state.sort = asked.get("sort") ?? state.sort;
    state.open = asked.get("open") ?? state.open;
    return state;
  }

  private write(): void {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(this.state)) {
      if (value !== this.defaults[name as keyof State]) kept.set(name, value === true ? "1" : String(value));
    }
    const text = kept.toString();
    try {
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    } catch {
      // A page inside a notebook has no address of its own.
    }
  }
}
