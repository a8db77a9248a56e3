// The model as a graph: modules that open and close, what flows between them, and what repeats once with its count.

import { select } from "d3-selection";
import { curveBasis, line } from "d3-shape";
import { zoom as zoomable, zoomIdentity, type ZoomBehavior } from "d3-zoom";
import type { App } from "./app";
import { METRIC_NAMES } from "./data";
import { append, h, replace, s } from "./dom";
import { percent, plural } from "./format";
import { HEAD_HEIGHT, inside, type Inside, type Placed } from "./layout";
import { panel } from "./panel";
import type { Node } from "./tree";
import { metricName, valueText } from "./values";

const AT_FIRST = 18; // boxes
const LEGIBLE = 0.86, SMALLEST = 0.5, LARGEST = 1.2; // scales

export function graph(app: App): HTMLElement {
  const { element, body, tools, caption, captionId } = panel("graph", "Graph");
  const plane = h("div", { class: "plane", role: "tree", "aria-label": "Graph of the model" });
  const window = h("div", { class: "window", "aria-describedby": captionId }, plane);
  body.append(window);
  let size = { width: 1, height: 1 };
  const zoom = zoomable<HTMLDivElement, unknown>()
    .scaleExtent([0.08, 2.5])
    .filter((event: Event) => event.type !== "dblclick" && (event.type !== "wheel" || (event as WheelEvent).ctrlKey || (event as WheelEvent).metaKey))
    .on("zoom", ({ transform }) => plane.style.setProperty("transform", `translate(${transform.x}px,${transform.y}px) scale(${transform.k})`));
  select(window).call(zoom).on("dblclick.zoom", null);
  const fit = () => fitted(window, zoom, size);
  tools.append(
    button("Collapse all", () => app.set({ open: "" })),
    button("Fit", fit),
    button("−", () => select(window).call(zoom.scaleBy, 1 / 1.3), "Zoom out"),
    button("+", () => select(window).call(zoom.scaleBy, 1.3), "Zoom in"),
  );
  let found: Inside = inside(app.data, app.tree, app.tree.root, openOf(app));
  const draw = (isNew: boolean) => {
    size = found;
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>(".plane [data-key]")?.dataset.key;
    replace(plane);
    plane.style.setProperty("width", `${found.width}px`);
    plane.style.setProperty("height", `${found.height}px`);
    drawInside(app, plane, found, 0, 0);
    caption.textContent = words(app, plane.querySelectorAll(".box").length);
    if (isNew) fit();
    if (focused) plane.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(window);
  plane.addEventListener("keydown", (event) => onKey(app, plane, event));
  draw(true);
  app.on((changed) => {
    if (changed.has("open")) found = inside(app.data, app.tree, app.tree.root, openOf(app));
    if (["open", "metric", "select"].some((key) => changed.has(key as never))) draw(false);
  });
  return element;
}

function button(text: string, onclick: () => void, label = text): HTMLElement {
  return h("button", { type: "button", class: "button small", "aria-label": label, onclick }, text);
}

/** The whole graph where it is legible so, else its upper part. */
function fitted(window: HTMLDivElement, zoom: ZoomBehavior<HTMLDivElement, unknown>, size: { width: number; height: number }): void {
  const { clientWidth: width, clientHeight: height } = window;
  if (!width) return;
  const whole = Math.min(width / size.width, height / size.height);
  const scale = Math.min(LARGEST, Math.max(whole, SMALLEST, Math.min(LEGIBLE, width / size.width)));
  const y = size.height * scale < height ? (height - size.height * scale) / 2 : 0;
  select(window).call(zoom.transform, zoomIdentity.translate((width - size.width * scale) / 2, y).scale(scale));
}

/** The keys of the open nodes: those that were chosen, or at first the costly ones, until the picture is rich enough. */
function openOf(app: App): Set<string> {
  if (app.state.open !== "auto") return new Set(app.state.open.split("\n"));
  const open = new Set<string>();
  const shown: Node[] = [...app.tree.root.children];
  for (;;) {
    const next = shown
      .filter((node) => node.children.length > 1 || node.children.some((child) => child.children.length))
      .filter((node) => shown.length - 1 + node.children.length <= AT_FIRST)
      .sort((a, b) => b.values.flops - a.values.flops || b.values.access - a.values.access)[0];
    if (!next) return open;
    open.add(next.key);
    shown.splice(shown.indexOf(next), 1, ...next.children);
  }
}

function toggle(app: App, node: Node): void {
  const open = openOf(app);
  if (!open.delete(node.key)) open.add(node.key);
  app.set({ open: [...open].filter(Boolean).join("\n") });
}

function drawInside(app: App, plane: HTMLElement, found: Inside, left: number, top: number): void {
  const lines = s("svg", { class: "edges", width: found.width, height: found.height, "aria-hidden": "true" });
  lines.style.setProperty("left", `${left}px`);
  lines.style.setProperty("top", `${top}px`);
  const path = line<{ x: number; y: number }>((point) => point.x, (point) => point.y).curve(curveBasis);
  for (const { points, from, to } of found.edges) {
    lines.append(s("path", { d: path(points) ?? "", class: from === "in" || to === "out" ? "outer" : "" }));
    const [before, last] = points.slice(-2);
    if (last) lines.append(s("path", { class: "head", d: "M0,0L-4,-7L4,-7Z", transform: `translate(${last.x},${last.y}) rotate(${(Math.atan2(last.y - before.y, last.x - before.x) * 180) / Math.PI - 90})` }));
  }
  for (const { x, y, name } of found.ports) lines.append(s("circle", { cx: x, cy: y, r: 4 }, s("title", {}, name === "in" ? "comes in" : "goes out")));
  plane.append(lines);
  for (const placed of found.nodes) drawNode(app, plane, placed, left, top);
}

function drawNode(app: App, plane: HTMLElement, placed: Placed, left: number, top: number): void {
  const { node, x, y, width, height } = placed;
  const value = node.values[app.state.metric];
  const share = app.share(value);
  const isSelected = app.selection?.node === node;
  const within = !isSelected && app.selection !== null && isInside(app.selection.node, node);
  const times = node.repeats > 1 ? `${node.repeats} times ` : "";
  const box = h(
    "div",
    {
      class: `box ${placed.inside ? "open" : ""} ${node.kind}${isSelected ? " selected" : ""}${within ? " holds-selection" : ""}`,
      tabindex: isSelected ? 0 : -1, role: "treeitem", "data-key": node.key,
      "aria-level": node.depth,
      "aria-selected": isSelected,
      "aria-expanded": node.children.length ? placed.inside !== null : null,
      "aria-label": `${times}${node.label}, ${node.type}: ${valueText(app.state.metric, value)} ${metricName(app)}, ${percent(share)}`,
      title: `${times}${node.label} (${node.type})`,
      "--share": Math.min(1, share), "--x": `${left + x}px`, "--y": `${top + y}px`, "--w": `${width}px`, "--h": `${height}px`,
      onclick: (event: Event) => (event.stopPropagation(), app.select(node.key)),
      ondblclick: () => node.children.length && toggle(app, node),
    },
  );
  const opener = node.children.length
    ? h("button", { type: "button", class: "opener", tabindex: -1, "aria-label": `${placed.inside ? "Close" : "Open"} ${node.label}`, onclick: (event: Event) => (event.stopPropagation(), toggle(app, node)) }, placed.inside ? "−" : "+")
    : null;
  append(box, [
    h("div", { class: "line" }, node.repeats > 1 ? h("span", { class: "badge" }, `×${node.repeats}`) : null, h("bdi", { class: "label" }, node.label), h("span", { class: "number" }, percent(share)), opener),
    placed.inside ? null : h("div", { class: "line second" }, h("span", { class: "type" }, node.type), h("span", { class: "number" }, valueText(app.state.metric, value))),
    placed.inside ? null : h("span", { class: "bar", "aria-hidden": "true" }),
  ]);
  plane.append(box);
  if (placed.inside) drawInside(app, plane, placed.inside, left + x, top + y + HEAD_HEIGHT);
  if (!plane.querySelector("[tabindex='0']")) box.tabIndex = 0;
}

function isInside(node: Node, other: Node): boolean {
  for (let at: Node | null = node; at; at = at.parent) if (at === other) return true;
  return false;
}

function words(app: App, boxes: number): string {
  const folded = app.tree.root.children.length ? "What repeats is drawn once, with ×n. " : "";
  return `${plural(boxes, "box", "boxes")}; arrows are tensors. ${folded}Colour, bar and number: share of the ${METRIC_NAMES[app.state.metric].long}. + opens a module; drag moves, ctrl and wheel zoom.`;
}

/** Arrows walk from box to box in the order of the program, Enter opens and closes, the space bar selects. */
function onKey(app: App, plane: HTMLElement, event: KeyboardEvent): void {
  const at = (event.target as Element).closest<HTMLElement>(".box");
  const node = at && app.tree.byKey.get(at.dataset.key!);
  if (!at || !node || event.target !== at) return;
  const boxes = [...plane.querySelectorAll<HTMLElement>(".box")];
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (step) {
    const next = boxes[boxes.indexOf(at) + step];
    if (next) {
      at.tabIndex = -1;
      next.tabIndex = 0;
      next.focus({ preventScroll: false });
    }
  } else if (event.key === "Enter") node.children.length && toggle(app, node);
  else if (event.key === " ") app.select(node.key);
  else return;
  event.preventDefault();
}
