// The module tree as a picture: from left to right one column a level, the height of a cell its share.

import { hierarchy, partition, type HierarchyRectangularNode } from "d3-hierarchy";
import type { App } from "./app";
import { METRIC_NAMES } from "./data";
import { h, onWidth, replace } from "./dom";
import { percent, plural, shown } from "./format";
import { panel } from "./panel";
import { pathTo, type Node } from "./tree";
import { familyOf, metricName, valueText } from "./values";

const HEIGHT = 440;
const NARROWEST = 118; // pixels of a column
const FLATTEST = 3; // pixels of a cell; flatter ones are drawn as one
const WITH_TEXT = 13;
const WITH_TWO_LINES = 36;

type Rectangle = HierarchyRectangularNode<Node>;

export function icicle(app: App): HTMLElement {
  const { element, body, tools, caption, captionId } = panel("icicle", "Modules");
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Zoomed to" });
  const tree = h("div", { class: "cells", role: "tree", "aria-label": "Module tree", "aria-describedby": captionId, "--height": `${HEIGHT}px` });
  const legend = h("ul", { class: "legend", "aria-label": "Families of ops, with their share" });
  body.append(crumbs, tree, legend);
  const zoomIn = h("button", { type: "button", class: "button small", onclick: () => zoomTo(app, app.selection?.node) }, "Zoom to selection");
  tools.append(zoomIn, h("span", { class: "hint" }, "click selects, double click zooms"));
  let width = 0;
  let focused = "";
  const draw = () => {
    if (!width) return;
    const hadFocus = tree.contains(document.activeElement);
    drawCells(app, tree, width, focused);
    drawCrumbs(app, crumbs);
    drawLegend(app, legend);
    caption.textContent = words(app);
    zoomIn.disabled = !app.selection || app.selection.node === app.zoomed || !app.selection.node.children.length;
    if (hadFocus) tree.querySelector<HTMLElement>("[tabindex='0']")?.focus();
  };
  tree.addEventListener("click", (event) => ((focused = keyOf(event)), app.select(focused)));
  tree.addEventListener("dblclick", (event) => zoomTo(app, app.tree.byKey.get(keyOf(event))));
  tree.addEventListener("focusin", (event) => (focused = keyOf(event) || focused));
  tree.addEventListener("keydown", (event) => onKey(app, tree, event));
  onWidth(tree, (found) => ((width = found), draw()));
  app.on((changed) => {
    if (changed.has("select") && app.selection) focused = app.selection.node.key;
    if (["metric", "zoom", "select"].some((key) => changed.has(key as never))) draw();
  });
  return element;
}

function keyOf(event: Event): string {
  return (event.target as Element).closest<HTMLElement>("[data-key]")?.dataset.key ?? "";
}

function zoomTo(app: App, node: Node | null | undefined): void {
  if (node?.children.length) app.set({ zoom: node === app.tree.root ? "" : node.key });
}

function laidOut(app: App, width: number): { rectangles: Rectangle[]; columns: number } {
  const metric = app.state.metric;
  const top = hierarchy(app.zoomed, (node) => (isSingle(node) ? [] : node.children));
  top.each((each) => {
    const inside = each.children?.reduce((sum, child) => sum + child.data.values[metric], 0) ?? 0;
    // What a module has besides its children stays empty; where children overlap, they share what there is.
    (each as { value?: number }).value = Math.max(each.data.values[metric], inside);
  });
  const columns = Math.min(top.height + 1, Math.max(2, Math.floor(width / NARROWEST)));
  const found = partition<Node>().size([HEIGHT, (width * (top.height + 1)) / columns])(top);
  return { rectangles: found.descendants().filter((each) => each.depth < columns && each.value! > 0), columns };
}

/** Whether a module does nothing but run one op, so that a cell for the op would say the same again. */
function isSingle(node: Node): boolean {
  return node.children.length === 1 && node.children[0].kind === "op" && node.children[0].items.length === node.items.length;
}

function drawCells(app: App, tree: HTMLElement, width: number, focused: string): void {
  const { rectangles, columns } = laidOut(app, width);
  const column = width / columns;
  const cells: HTMLElement[] = [];
  const tabStop = rectangles.find((each) => each.data.key === focused && isTall(each)) ?? rectangles[0];
  const holder = holderOf(app, rectangles);
  for (const each of rectangles) if (isTall(each)) cells.push(cell(app, each, column, each === tabStop, each === holder));
  for (const { depth, from, to, count } of smallOnes(rectangles)) {
    cells.push(h("div", { class: "tiny", title: plural(count, "small one"), "aria-hidden": "true", "--x": `${depth * column}px`, "--y": `${from}px`, "--w": `${column}px`, "--h": `${to - from}px` }));
  }
  if (!cells.length) cells.push(h("p", { class: "empty" }, `Nothing in it has ${METRIC_NAMES[app.state.metric].long}.`));
  replace(tree, ...cells);
}

/** The places of cells that are too flat to be drawn, neighbours as one. */
function smallOnes(rectangles: Rectangle[]): { depth: number; from: number; to: number; count: number }[] {
  const found: { depth: number; from: number; to: number; count: number }[] = [];
  for (const each of rectangles) {
    if (isTall(each) || (each.parent && !isTall(each.parent))) continue;
    const last = found[found.length - 1];
    if (last?.depth === each.depth && each.x0 - last.to < 0.01) {
      last.to = each.x1;
      last.count += 1;
    } else found.push({ depth: each.depth, from: each.x0, to: each.x1, count: 1 });
  }
  return found.filter(({ from, to }) => to - from > 0.3);
}

/** The smallest cell that is drawn around what is selected, where that has no cell of its own. */
function holderOf(app: App, rectangles: Rectangle[]): Rectangle | null {
  if (!app.selection) return null;
  const drawn = new Map(rectangles.filter(isTall).map((each) => [each.data, each]));
  const around = pathTo(app.selection.node).reverse();
  const found = around.find((node) => drawn.has(node));
  return found && found !== app.selection.node ? drawn.get(found)! : null;
}

function isTall(each: Rectangle): boolean {
  return each.x1 - each.x0 >= FLATTEST;
}

function cell(app: App, each: Rectangle, column: number, isTabStop: boolean, isHolder: boolean): HTMLElement {
  const node = each.data;
  const height = each.x1 - each.x0;
  const value = node.values[app.state.metric];
  const share = percent(app.share(value));
  const times = node.repeats > 1 ? `${node.repeats} × ` : "";
  const isSelected = app.selection?.node === node;
  const family = familyOf(app, node);
  const holds = isHolder ? " holds-selection" : "";
  const size = height < WITH_TEXT ? " flat" : height >= WITH_TWO_LINES ? " tall" : "";
  const text = `${times}${node.label}, ${node.type}: ${valueText(app.state.metric, value)} ${metricName(app)}, ${share}`;
  return h(
    "div",
    {
      class: `cell ${node.kind} family-${family}${size}${holds}`,
      role: "treeitem",
      tabindex: isTabStop ? 0 : -1,
      "data-key": node.key,
      "aria-level": each.depth + 1,
      "aria-selected": isSelected,
      "aria-expanded": node.children.length ? each.children !== undefined : null,
      "aria-label": text,
      title: `${text}; mostly ${app.data.facts.families[family].toLowerCase()}`,
      "--x": `${each.depth * column}px`,
      "--y": `${each.x0}px`,
      "--w": `${column}px`,
      "--h": `${height}px`,
    },
    ...(size === " flat" ? [] : contents(node, share, size === " tall")),
  );
}

/** The words in a cell: in one line, or, where it is tall enough, the class under the name. */
function contents(node: Node, share: string, isTall: boolean): HTMLElement[] {
  const badge = node.repeats > 1 ? h("span", { class: "badge" }, `${node.repeats}×`) : null;
  const isNumber = /^[\d\u2013 ]+$/.test(node.label); // which says little without the class
  const label = h("bdi", { class: "label" }, node.label, !isTall && isNumber ? h("span", { class: "aside" }, ` ${node.type}`) : null);
  const name = h("span", { class: "name" }, badge, label, isTall ? null : h("span", { class: "number" }, share));
  return isTall ? [name, h("span", { class: "second" }, h("span", { class: "type" }, node.type), h("span", { class: "number" }, share))] : [name];
}

function drawCrumbs(app: App, crumbs: HTMLElement): void {
  const path = pathTo(app.zoomed);
  replace(
    crumbs,
    ...path.map((node, place) =>
      h("button", { type: "button", class: "crumb", "aria-current": place === path.length - 1 ? "true" : null, onclick: () => zoomTo(app, node) }, h("bdi", {}, node.repeats > 1 ? `${node.repeats}× ${node.label}` : node.label)),
    ),
  );
}

function drawLegend(app: App, legend: HTMLElement): void {
  const { data } = app;
  const values = app.state.metric === "params" ? data.params : data.opValues[app.state.metric];
  const sums = new Map<string, number>();
  const calls = new Map<string, number>();
  for (let op = 0; op < data.size; op++) {
    const family = data.of(op, "family");
    sums.set(family, (sums.get(family) ?? 0) + values[op]);
    calls.set(family, (calls.get(family) ?? 0) + data.facts.ops.times[op]);
  }
  const listed = Object.keys(data.facts.families).filter((family) => calls.has(family) && (sums.get(family)! > 0 || family === "uncounted"));
  listed.sort((a, b) => sums.get(b)! - sums.get(a)!);
  replace(
    legend,
    ...listed.map((family) =>
      h("li", { title: plural(calls.get(family)!, "call") }, h("span", { class: `swatch family-${family}`, "aria-hidden": "true" }), data.facts.families[family], h("span", { class: "number" }, percent(app.share(sums.get(family)!)))),
    ),
  );
}

/** The picture in words. */
function words(app: App): string {
  const metric = app.state.metric;
  const node = app.zoomed;
  const best = [...node.children].sort((a, b) => b.values[metric] - a.values[metric]).slice(0, 3).filter((child) => child.values[metric] > 0);
  const listed = best.map((child) => `${child.repeats > 1 ? `${child.repeats} × ` : ""}${child.label} ${percent(app.share(child.values[metric]))}`);
  const first = `${shown(node.label)}: ${valueText(metric, node.values[metric])} ${METRIC_NAMES[metric].after}`;
  return listed.length ? `${first}; the most in ${listed.join(", ")}. Shares are of the whole model.` : `${first}.`;
}

/** Arrows walk through the tree, Enter zooms in, Backspace out, the space bar selects. */
function onKey(app: App, tree: HTMLElement, event: KeyboardEvent): void {
  const at = app.tree.byKey.get(keyOf(event));
  if (!at) return;
  const isDrawn = (node: Node) => tree.querySelector(`[data-key="${CSS.escape(node.key)}"]`) !== null;
  const siblings = at === app.zoomed ? [at] : at.parent!.children.filter(isDrawn);
  const place = siblings.indexOf(at);
  const to: Record<string, Node | null | undefined> = {
    ArrowDown: siblings[place + 1],
    ArrowUp: siblings[place - 1],
    ArrowRight: at.children.find(isDrawn),
    ArrowLeft: at === app.zoomed ? null : at.parent,
    Home: siblings[0],
    End: siblings[siblings.length - 1],
  };
  if (event.key in to) focus(tree, to[event.key]);
  else if (event.key === "Enter") zoomTo(app, at);
  else if (event.key === " ") app.select(at.key);
  else if (event.key === "Backspace") zoomTo(app, app.zoomed.parent);
  else return;
  event.preventDefault();
}

function focus(tree: HTMLElement, node: Node | null | undefined): void {
  const element = node && tree.querySelector<HTMLElement>(`[data-key="${CSS.escape(node.key)}"]`);
  if (!element) return;
  tree.querySelectorAll<HTMLElement>("[tabindex='0']").forEach((each) => (each.tabIndex = -1));
  element.tabIndex = 0;
  element.focus();
}
