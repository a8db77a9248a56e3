// The bytes that are alive while each op runs, and what they are.

import { scaleLinear } from "d3-scale";
import { area, curveStepAfter } from "d3-shape";
import type { App } from "./app";
import { h, onWidth, replace, s } from "./dom";
import { binary, percent, plural, shown } from "./format";
import { panel } from "./panel";

const HEIGHT = 170;
const MARGIN = { top: 12, right: 8, bottom: 22, left: 58 };
const LISTED = 6;

export function memory(app: App): HTMLElement {
  const { element, body, tools, caption, captionId } = panel("memory", "Memory");
  const { data } = app;
  const peak = data.facts.memory.peak_at;
  const toPeak = h("button", { type: "button", class: "button small", onclick: () => move(peak ?? 0) }, "Go to the peak");
  tools.append(toPeak);
  const picture = h("div", { class: "chart" });
  const alive = h("div", { class: "alive" });
  body.append(picture, alive);
  let width = 0;
  let at = app.selection?.op ?? peak ?? 0;
  let cursor: SVGElement | null = null;
  let slider: SVGElement | null = null;
  const x = () => scaleLinear([0, data.size], [MARGIN.left, width - MARGIN.right]);
  function move(op: number): void {
    at = Math.max(0, Math.min(data.size - 1, op));
    cursor?.setAttribute("transform", `translate(${x()(at + 0.5)},0)`);
    slider?.setAttribute("aria-valuenow", String(at));
    slider?.setAttribute("aria-valuetext", reading(app, at));
    replace(alive, ...held(app, at));
  }
  const draw = () => {
    if (!width) return;
    if (!data.size) {
      replace(picture, h("p", { class: "empty" }, "The model runs no op."));
      return;
    }
    slider = chart(app, width, captionId);
    cursor = s("g", { class: "cursor" }, s("line", { y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
    slider.append(cursor);
    const opAt = (event: MouseEvent) => Math.floor(x().invert(event.clientX - picture.getBoundingClientRect().left));
    slider.addEventListener("pointermove", (event) => move(opAt(event)));
    slider.addEventListener("pointerleave", () => move(app.selection?.op ?? peak ?? 0));
    slider.addEventListener("click", (event) => app.select(`op:${Math.max(0, Math.min(data.size - 1, opAt(event)))}`));
    slider.addEventListener("keydown", (event) => onKey(app, event, at, move));
    replace(picture, slider);
    move(at);
  };
  caption.textContent = words(app);
  toPeak.disabled = peak === null;
  onWidth(picture, (found) => ((width = found), draw()));
  app.on((changed) => {
    if (!changed.has("select")) return;
    if (app.selection?.op !== null && app.selection) at = app.selection.op;
    const hadFocus = slider !== null && slider === document.activeElement;
    draw();
    if (hadFocus) slider?.focus();
  });
  return element;
}

function chart(app: App, width: number, captionId: string): SVGElement {
  const { data } = app;
  const most = data.live.reduce((most, bytes) => Math.max(most, bytes), 1);
  const x = scaleLinear([0, data.size], [MARGIN.left, width - MARGIN.right]);
  const y = scaleLinear([0, most * 1.04], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const shape = area<[number, number]>(([op]) => x(op), y(0), ([, bytes]) => y(bytes)).curve(curveStepAfter);
  const root = s("svg", {
    width, height: HEIGHT, role: "slider", tabindex: 0, "aria-label": "Live bytes, op by op", "aria-describedby": captionId,
    "aria-valuemin": 0, "aria-valuemax": data.size - 1,
  });
  const axis = s("g", { class: "axes", "aria-hidden": "true" });
  for (const share of [0, 0.5, 1]) {
    axis.append(s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(most * share), y2: y(most * share) }), s("text", { x: MARGIN.left - 7, y: y(most * share) + 3.5, "text-anchor": "end" }, binary(most * share)));
  }
  axis.append(s("text", { x: MARGIN.left, y: HEIGHT - 6 }, "op 0"), s("text", { x: width - MARGIN.right, y: HEIGHT - 6, "text-anchor": "end" }, `op ${data.size - 1}`));
  root.append(axis, s("path", { class: "live", d: shape(columns(data.live, width)) ?? "" }));
  if (app.selection && app.selection.ops.size < data.size) {
    root.append(s("path", { class: "made-by-selection", d: shape(columns(madeBy(app, app.selection.ops), width)) ?? "" }), ...bands(app, x));
  }
  const at = data.facts.memory.peak_at;
  if (at !== null) root.append(s("path", { class: "peak", d: "M0,0L-5,-8L5,-8Z", transform: `translate(${x(at + 0.5)},${y(data.live[at])})`, "aria-hidden": "true" }));
  return root;
}

/** A value per op as steps, no more of them than there are pixels: where several ops share one, the most. */
function columns(values: Float64Array, width: number): [number, number][] {
  const each = Math.max(1, values.length / width);
  const found: [number, number][] = [];
  for (let start = 0; start < values.length; start += each) {
    let most = 0;
    for (let op = Math.floor(start); op < Math.min(values.length, Math.floor(start + each)); op++) most = Math.max(most, values[op]);
    found.push([Math.floor(start), most]);
  }
  if (found.length) found.push([values.length, found[found.length - 1][1]]);
  return found;
}

/** Of the live bytes, those that some ops made. */
function madeBy(app: App, ops: Set<number>): Float64Array {
  const { data } = app;
  const { producer, born, died } = data.facts.pieces;
  const changes = new Float64Array(data.size + 2);
  producer.forEach((op, piece) => {
    if (!ops.has(op)) return;
    changes[born[piece] + 1] += data.pieceBytes[piece];
    changes[Math.min(died[piece], data.size) + 1] -= data.pieceBytes[piece];
  });
  let sum = changes[0];
  return Float64Array.from({ length: data.size }, (_, op) => (sum += changes[op + 1]));
}

/** Where the selected ops run, as bars under the picture. */
function bands(app: App, x: ReturnType<typeof scaleLinear<number, number>>): SVGElement[] {
  const found: SVGElement[] = [];
  const ops = [...app.selection!.ops].sort((a, b) => a - b);
  for (let start = 0; start < ops.length; ) {
    let end = start + 1;
    while (end < ops.length && ops[end] === ops[end - 1] + 1) end++;
    const width = Math.max(2, x(ops[end - 1] + 1) - x(ops[start]));
    found.push(s("rect", { class: "band", x: x(ops[start]), width, y: HEIGHT - MARGIN.bottom, height: 4 }));
    start = end;
  }
  return found;
}

function reading(app: App, op: number): string {
  return `op ${op}, ${shown(app.data.of(op, "target"))}: ${binary(app.data.live[op])} alive`;
}

function held(app: App, op: number): HTMLElement[] {
  const { data } = app;
  const { pieces } = data.facts;
  const found = data.aliveAt(op);
  const most = data.live[op] || 1;
  const rows = found.slice(0, LISTED).map((piece) => {
    const producer = pieces.producer[piece];
    const what = shown(data.text(pieces.what[piece]));
    const where = producer < 0 ? what || "there before" : `${shown(data.scope(producer)) || shown(data.facts.model)} #${producer}`;
    return h(
      "tr",
      { class: app.selection?.ops.has(producer) ? "selected" : "" },
      h("td", { class: "number" }, binary(data.pieceBytes[piece])),
      h("td", {}, h("span", { class: "bar", "--share": data.pieceBytes[piece] / most, "aria-hidden": "true" })),
      h("td", {}, shown(data.text(pieces.type[piece]))),
      h("td", { class: "where", title: where }, producer < 0 ? h("bdi", {}, where) : h("button", { type: "button", class: "link", onclick: () => app.select(`op:${producer}`) }, h("bdi", {}, where))),
    );
  });
  const rest = found.slice(LISTED).reduce((sum, piece) => sum + data.pieceBytes[piece], 0);
  const more = found.length > LISTED ? `and ${found.length - LISTED} more, ${binary(rest)}` : "";
  return [
    h("p", { class: "reading" }, h("strong", {}, reading(app, op)), more ? h("span", { class: "hint" }, ` · ${more}`) : null),
    h("table", { "aria-label": `Alive at op ${op}` }, h("tbody", {}, ...rows)),
  ];
}

/** The picture in words. */
function words(app: App): string {
  const { memory: found } = app.data.facts;
  const at = found.peak_at;
  if (at === null) return "No op, no memory.";
  const planned = Number(found.planned_bytes) / Number(found.peak_bytes);
  const where = `${shown(app.data.of(at, "target"))} in ${shown(app.data.scope(at)) || "the model itself"}`;
  return `Peak ${binary(Number(found.peak_bytes))} at op ${at}, ${where}, with ${plural(app.data.aliveAt(at).length, "tensor")} alive; an ideal planner needs ${percent(planned)} of it. Weights are apart.`;
}

/** Arrows move along the ops, ten at a time with Shift; Enter selects. */
function onKey(app: App, event: KeyboardEvent, at: number, move: (op: number) => void): void {
  const step = event.shiftKey ? 10 : 1;
  const to: Record<string, number> = {
    ArrowRight: at + step, ArrowUp: at + step, ArrowLeft: at - step, ArrowDown: at - step,
    PageUp: at + 10, PageDown: at - 10, Home: 0, End: app.data.size - 1,
  };
  if (event.key in to) move(to[event.key]);
  else if (event.key === "Enter" || event.key === " ") app.select(`op:${at}`);
  else return;
  event.preventDefault();
}
