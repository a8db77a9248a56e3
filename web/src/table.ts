// Every op in a table that sorts and filters, and draws only the rows that are on the screen.

import type { App } from "./app";
import { METRIC_NAMES } from "./data";
import { h, replace } from "./dom";
import { exact, percent, ratio, shown, si } from "./format";
import { panel } from "./panel";

const ROW = 28; // pixels
const VISIBLE = 16; // rows
const BEYOND = 6; // rows drawn above and below what is seen

interface Column {
  key: string;
  name: string;
  isNumber: boolean;
  text(app: App, op: number): string;
  value(app: App, op: number): number | string;
  title?(app: App, op: number): string;
}

const number = (key: string, name: string, value: (app: App, op: number) => number, text: (value: number) => string): Column => ({
  key, name, isNumber: true, value,
  text: (app, op) => (app.data.uncounted[op] && key !== "params" ? "?" : text(value(app, op))),
  title: (app, op) => (Number.isInteger(value(app, op)) ? exact(value(app, op)) : ""),
});
const words = (key: string, name: string, text: (app: App, op: number) => string): Column => ({ key, name, isNumber: false, text, value: text, title: text });

const COLUMNS: Column[] = [
  { key: "index", name: "#", isNumber: true, value: (_, op) => op, text: (_, op) => String(op) },
  words("scope", "Module", (app, op) => shown(app.data.scope(op)) || "(model)"),
  words("op", "Op", (app, op) => shown(app.data.of(op, "target"))),
  words("name", "Name", (app, op) => shown(app.data.text(app.data.facts.ops.name[op]))),
  number("times", "Times", (app, op) => app.data.facts.ops.times[op], String),
  words("inputs", "Inputs", (app, op) => app.data.of(op, "inputs")),
  words("outputs", "Outputs", (app, op) => app.data.of(op, "outputs")),
  number("params", "Params", (app, op) => app.data.params[op], (value) => si(value)),
  number("macs", "MACs", (app, op) => app.data.opValues.macs[op], (value) => si(value)),
  number("flops", "FLOPs", (app, op) => app.data.opValues.flops[op], (value) => si(value)),
  number("access", "Access", (app, op) => app.data.opValues.access[op], (value) => si(value, "B")),
  number("intensity", "FLOPs/B", (app, op) => app.data.intensity(op), (value) => (value ? ratio(value) : "0")),
  { key: "share", name: "Share", isNumber: true, value: shareOf, text: (app, op) => percent(shareOf(app, op)) },
];

function shareOf(app: App, op: number): number {
  const { metric } = app.state;
  return app.share(metric === "params" ? app.data.params[op] : app.data.opValues[metric][op]);
}

export function table(app: App): HTMLElement {
  const { element, body, tools, caption } = panel("table", "Ops");
  const view = new Rows(app, columnsOf(app), caption);
  const filter = h("input", { type: "search", placeholder: "Filter: words in any column", "aria-label": "Filter the ops", id: "filter", oninput: () => app.set({ filter: filter.value }) });
  const only = h("input", { type: "checkbox", id: "only", onchange: () => app.set({ only: only.checked }) });
  tools.append(h("label", { class: "check" }, only, "Only the selection"), filter);
  body.append(view.element);
  const draw = () => {
    if (filter.value !== app.state.filter) filter.value = app.state.filter;
    only.checked = app.state.only;
  };
  draw();
  app.on((changed) => {
    draw();
    const lists = ["filter", "only", "sort"].some((key) => changed.has(key as never)) || (changed.has("select") && app.state.only);
    if (lists || (changed.has("metric") && app.state.sort.startsWith("share"))) view.list();
    else if (changed.has("metric")) view.draw(true);
    if (changed.has("select")) view.show();
  });
  return element;
}

/** The columns that have something to say about this model. */
function columnsOf(app: App): Column[] {
  const { ops } = app.data.facts;
  const isNamed = ops.name.some((name) => app.data.text(name) !== "");
  const isRepeated = ops.times.some((times) => times > 1);
  return COLUMNS.filter(({ key }) => (key !== "name" || isNamed) && (key !== "times" || isRepeated));
}

class Rows {
  readonly element: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly rows: HTMLElement;
  private readonly heads: HTMLElement[];
  private readonly texts: string[];
  private ops: number[] = [];
  private active = 0;
  private drawn = "";

  constructor(private readonly app: App, private readonly columns: Column[], private readonly caption: HTMLElement) {
    this.heads = columns.map((column) => this.head(column));
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.scroller = h(
      "div",
      { class: "grid", role: "grid", tabindex: 0, "aria-label": "Ops", "aria-colcount": columns.length, "--visible": `${ROW * (VISIBLE + 1)}px`, onscroll: () => this.draw(), onkeydown: (event: KeyboardEvent) => this.onKey(event) },
      h("div", { class: "heads", role: "rowgroup" }, h("div", { class: "head-row", role: "row", "aria-rowindex": 1 }, ...this.heads)),
      this.rows,
    );
    this.scroller.style.setProperty("--columns", columns.map(({ key }) => WIDTHS[key]).join(" "));
    this.element = this.scroller;
    this.texts = Array.from({ length: app.data.size }, (_, op) => this.searched(op));
    this.list();
    requestAnimationFrame(() => this.show());
  }

  private head(column: Column): HTMLElement {
    const sort = () => {
      const [key, order] = this.app.state.sort.split("-");
      const first = column.isNumber && column.key !== "index" ? "-down" : "";
      const isFirst = key === column.key && (order ? "-down" : "") === first;
      this.app.set({ sort: `${column.key}${isFirst ? (first ? "" : "-down") : first}` });
    };
    return h("div", { role: "columnheader", class: column.isNumber ? "number" : "", "data-column": column.key }, h("button", { type: "button", onclick: sort }, column.name, h("span", { class: "order", "aria-hidden": "true" })));
  }

  /** What a filter looks into. */
  private searched(op: number): string {
    const { app } = this;
    return this.columns.filter((column) => !column.isNumber || column.key === "index").map((column) => column.text(app, op)).join(" ").toLowerCase() + ` ${app.data.of(op, "kind")} ${app.data.facts.families[app.data.of(op, "family")].toLowerCase()}`;
  }

  /** Chooses and orders the ops anew. */
  list(): void {
    const { app } = this;
    const { state } = app;
    const wanted = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = state.only && app.selection ? app.selection.ops : null;
    this.ops = [];
    for (let op = 0; op < app.data.size; op++) {
      if ((!chosen || chosen.has(op)) && wanted.every((word) => this.texts[op].includes(word))) this.ops.push(op);
    }
    const [key, order] = state.sort.split("-");
    const column = this.columns.find((each) => each.key === key) ?? this.columns[0];
    const sign = order === "down" ? -1 : 1;
    if (column.key !== "index" || sign < 0) this.ops.sort((a, b) => sign * compare(column.value(app, a), column.value(app, b)) || a - b);
    this.heads.forEach((head, place) => {
      const isSorted = this.columns[place] === column;
      if (isSorted) head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".order")!.textContent = isSorted ? (sign < 0 ? "▼" : "▲") : "";
    });
    this.active = Math.min(this.active, Math.max(0, this.ops.length - 1));
    this.scroller.setAttribute("aria-rowcount", String(this.ops.length + 1));
    this.rows.style.setProperty("height", `${Math.max(1, this.ops.length) * ROW}px`);
    const of = this.ops.length === app.data.size ? "" : ` of ${app.data.size.toLocaleString("en-US")}`;
    this.caption.textContent = `${this.ops.length.toLocaleString("en-US")}${of} ${app.data.size === 1 ? "op" : "ops"}. Share: of the model's ${METRIC_NAMES[app.state.metric].long}. Arrow keys walk through the rows, Enter selects.`;
    this.draw(true);
  }

  /** Draws the rows that are seen. */
  draw(force = false): void {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.ops.length, first + VISIBLE + 2 * BEYOND);
    const drawn = `${first} ${last}`;
    if (!force && drawn === this.drawn) return;
    this.drawn = drawn;
    const rows = this.ops.slice(first, last).map((op, place) => this.row(op, first + place));
    replace(this.rows, ...(rows.length ? rows : [h("p", { class: "empty" }, "No op matches.")]));
    this.caption.textContent = this.caption.textContent!.replace(/of the model's .*?\. Arrow/, `of the model's ${METRIC_NAMES[this.app.state.metric].long}. Arrow`);
    const active = this.rows.querySelector(".active");
    if (active) this.scroller.setAttribute("aria-activedescendant", active.id);
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  private row(op: number, place: number): HTMLElement {
    const { app } = this;
    const isSelected = app.selection?.ops.has(op) ?? false;
    const cells = this.columns.map((column) => {
      const text = column.text(app, op);
      const cell = h("div", { role: "gridcell", class: `${column.isNumber ? "number" : ""} ${column.key}`, title: column.title?.(app, op) || null }, column.isNumber ? text : h("bdi", {}, text));
      if (column.key === "share") cell.prepend(h("span", { class: "bar", "--share": Math.min(1, shareOf(app, op)), "aria-hidden": "true" }));
      if (column.key === "op") cell.prepend(h("span", { class: `swatch family-${app.data.of(op, "family")}`, "aria-hidden": "true" }));
      return cell;
    });
    return h(
      "div",
      {
        role: "row", id: `op-${op}`, class: `row${place === this.active ? " active" : ""}${app.data.uncounted[op] ? " uncounted" : ""}`, "data-op": op,
        "aria-rowindex": place + 2, "aria-selected": isSelected, "--y": `${place * ROW}px`,
        onclick: () => ((this.active = place), app.select(`op:${op}`)),
      },
      ...cells,
    );
  }

  /** Brings the first of the selected rows into sight. */
  show(): void {
    const { selection } = this.app;
    const places = selection ? this.ops.findIndex((op) => selection.ops.has(op)) : -1;
    const isSeen = selection && this.ops.slice(...this.seen()).some((op) => selection.ops.has(op));
    if (places >= 0 && !isSeen) {
      this.active = places;
      this.scroller.scrollTop = Math.max(0, (places - 3) * ROW);
    } else if (places >= 0 && !selection!.ops.has(this.ops[this.active])) this.active = places;
    this.draw(true);
  }

  private seen(): [number, number] {
    const first = Math.ceil(this.scroller.scrollTop / ROW);
    return [first, first + VISIBLE];
  }

  private onKey(event: KeyboardEvent): void {
    if (event.target !== this.scroller) return;
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: VISIBLE - 1, PageUp: 1 - VISIBLE, Home: -Infinity, End: Infinity };
    if (event.key in steps && this.ops.length) {
      this.active = Math.max(0, Math.min(this.ops.length - 1, this.active + steps[event.key]));
      const [first, last] = this.seen();
      if (this.active < first) this.scroller.scrollTop = this.active * ROW;
      else if (this.active >= last) this.scroller.scrollTop = (this.active - VISIBLE + 1) * ROW;
      this.draw(true);
    } else if ((event.key === "Enter" || event.key === " ") && this.ops.length) this.app.select(`op:${this.ops[this.active]}`);
    else return;
    event.preventDefault();
  }
}

const WIDTHS: Record<string, string> = {
  index: "50px", scope: "minmax(150px, 1.7fr)", op: "minmax(154px, 1fr)", name: "minmax(100px, 1fr)", times: "58px", inputs: "minmax(120px, 1.5fr)", outputs: "minmax(90px, 0.9fr)",
  params: "74px", macs: "74px", flops: "74px", access: "82px", intensity: "70px", share: "104px",
};

function compare(a: number | string, b: number | string): number {
  return typeof a === "string" ? a.localeCompare(b as string, "en", { numeric: true }) : a - (b as number);
}
