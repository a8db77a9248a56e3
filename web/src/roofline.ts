// How fast each op could be at best on a device: bound by its arithmetic, or by its memory.

import { scaleLog } from "d3-scale";
import { line, symbol, symbolCircle, symbolSquare } from "d3-shape";
import type { App } from "./app";
import type { Device } from "./data";
import { h, onWidth, replace, s } from "./dom";
import { percent, plural, ratio, seconds, shown, si } from "./format";
import { panel } from "./panel";

const HEIGHT = 270;
const MARGIN = { top: 14, right: 16, bottom: 34, left: 58 };
const LARGEST = 22; // pixels: the radius of a point that has all the FLOPs

/** All ops with the same signature: one point. */
interface Point {
  ops: number[];
  flops: number;
  bytes: number;
  dtype: string;
  intensity: number;
}

export function roofline(app: App): HTMLElement {
  const { element, body, tools, caption, captionId } = panel("roofline", "Roofline");
  const device = h("select", { "aria-label": "Device", onchange: () => app.set({ device: device.value }) });
  device.append(...app.data.facts.devices.map(({ key, name }) => h("option", { value: key }, name)));
  tools.append(device);
  const picture = h("div", { class: "chart" });
  const tip = h("p", { class: "reading" });
  body.append(picture, tip);
  const points = pointsOf(app);
  let width = 0;
  const draw = () => {
    device.value = app.state.device;
    if (!width) return;
    const chosen = app.data.facts.devices.find((each) => each.key === app.state.device)!;
    replace(picture, points.length ? chart(app, chosen, points, width, tip, captionId) : h("p", { class: "empty" }, "No op of this model has any FLOPs."));
    replace(caption, words(app, chosen, points));
    tell(app, chosen, points.find((point) => point.ops.some((op) => app.selection?.ops.has(op))) ?? null, tip);
  };
  onWidth(picture, (found) => ((width = found), draw()));
  app.on((changed) => (changed.has("device") || changed.has("select")) && draw());
  return element;
}

function pointsOf(app: App): Point[] {
  const { data } = app;
  const found = new Map<number, Point>();
  for (let op = 0; op < data.size; op++) {
    const kind = data.facts.ops.signature[op];
    const [flops, bytes] = [data.opValues.flops[op], data.opValues.access[op]];
    if (!flops || !bytes) continue;
    const point = found.get(kind) ?? { ops: [], flops: 0, bytes: 0, dtype: data.of(op, "dtype"), intensity: data.intensity(op) };
    point.ops.push(op);
    point.flops += flops;
    point.bytes += bytes;
    found.set(kind, point);
  }
  return [...found.values()].sort((a, b) => b.flops - a.flops);
}

/** The peak rate of a device for a dtype; what it states no rate for runs as float32. */
function peakOf(device: Device, dtype: string): [name: string, rate: number] {
  const rates = device.flops_per_second;
  if (dtype in rates) return [dtype, rates[dtype]];
  if (dtype.startsWith("float8") && "float8" in rates) return ["float8", rates.float8];
  return ["float32", rates.float32];
}

function attainable(device: Device, point: Point): number {
  return Math.min(peakOf(device, point.dtype)[1], point.intensity * device.bytes_per_second);
}

function isCompute(device: Device, point: Point): boolean {
  return point.intensity * device.bytes_per_second >= peakOf(device, point.dtype)[1];
}

function chart(app: App, device: Device, points: Point[], width: number, tip: HTMLElement, captionId: string): SVGElement {
  const peaks = new Map(points.map((point) => peakOf(device, point.dtype)));
  const ridge = Math.max(...peaks.values()) / device.bytes_per_second;
  const low = points.reduce((least, { intensity }) => Math.min(least, intensity), 0.1);
  const high = points.reduce((most, { intensity }) => Math.max(most, intensity * 2), ridge * 4);
  const x = scaleLog([low / 1.6, high], [MARGIN.left, width - MARGIN.right]);
  const y = scaleLog([(low / 1.6) * device.bytes_per_second, Math.max(...peaks.values()) * 2.5], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const most = points.reduce((sum, point) => sum + point.flops, 0);
  const root = s("svg", { width, height: HEIGHT, role: "img", "aria-label": `Roofline on ${device.name}`, "aria-describedby": captionId });
  root.append(axes(x, y, width), ...roofs(device, peaks, x, y, high));
  for (const point of points) root.append(dot(app, device, point, Math.max(2.5, LARGEST * Math.sqrt(point.flops / most)), x, y, tip, points));
  return root;
}

type Log = ReturnType<typeof scaleLog<number, number>>;

/** The powers of ten that an axis shows: at most about eight. */
function decades(scale: Log): number[] {
  const [low, high] = scale.domain().map(Math.log10);
  const step = Math.max(1, Math.ceil((high - low) / 8));
  const found: number[] = [];
  for (let power = Math.ceil(low); power <= high; power++) if (power % step === 0) found.push(10 ** power);
  return found;
}

function axes(x: Log, y: Log, width: number): SVGElement {
  const bottom = HEIGHT - MARGIN.bottom;
  const group = s("g", { class: "axes", "aria-hidden": "true" });
  for (const tick of decades(x)) {
    group.append(s("line", { x1: x(tick), x2: x(tick), y1: MARGIN.top, y2: bottom }), s("text", { x: x(tick), y: bottom + 14, "text-anchor": "middle" }, tick < 1 ? String(tick) : si(tick)));
  }
  for (const tick of decades(y)) {
    group.append(s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }), s("text", { x: MARGIN.left - 7, y: y(tick) + 3.5, "text-anchor": "end" }, short(tick)));
  }
  group.append(
    s("text", { class: "name", x: width - MARGIN.right, y: HEIGHT - 4, "text-anchor": "end" }, "FLOPs per byte →"),
    s("text", { class: "name", x: MARGIN.left + 6, y: MARGIN.top + 6 }, "↑ FLOP/s at best"),
  );
  return group;
}

/** A rate with three digits and its prefix. */
function rate(value: number): string {
  const prefix = Math.min(5, Math.floor(Math.log10(value) / 3));
  return `${Number((value / 1000 ** prefix).toPrecision(3))} ${["", "k", "M", "G", "T", "P"][prefix]}`;
}

/** A power of ten with its prefix and no zeros behind a point. */
function short(value: number): string {
  const power = Math.round(Math.log10(value));
  const prefix = Math.max(0, Math.min(5, Math.floor(power / 3)));
  return `${10 ** (power - 3 * prefix)} ${["", "k", "M", "G", "T", "P"][prefix]}`;
}

function roofs(device: Device, peaks: Map<string, number>, x: Log, y: Log, high: number): SVGElement[] {
  const path = line();
  const [low] = x.domain();
  const found: SVGElement[] = [];
  for (const [name, peak] of peaks) {
    const ridge = peak / device.bytes_per_second;
    const corners: [number, number][] = [[low, low * device.bytes_per_second], [ridge, peak], [high, peak]];
    found.push(
      s("path", { class: "roof", d: path(corners.map(([at, rate]) => [x(at), y(rate)])) ?? "" }),
      s("text", { class: "roof-name", x: x(ridge) - 10, y: y(peak) + 4, "text-anchor": "end", "aria-hidden": "true" }, `${name} ${rate(peak)}FLOP/s`),
    );
  }
  const at = Math.sqrt(low * Math.min(...peaks.values()) / device.bytes_per_second);
  found.push(s("text", { class: "roof-name", x: x(at) - 8, y: y(at * device.bytes_per_second) - 16, "text-anchor": "end", "aria-hidden": "true" }, `${rate(device.bytes_per_second)}B/s`));
  return found;
}

function dot(app: App, device: Device, point: Point, radius: number, x: Log, y: Log, tip: HTMLElement, points: Point[]): SVGElement {
  const isSelected = point.ops.some((op) => app.selection?.ops.has(op));
  const bound = isCompute(device, point);
  const mark = symbol(bound ? symbolSquare : symbolCircle, Math.PI * radius * radius);
  const family = app.data.of(point.ops[0], "family");
  return s("path", {
    class: `dot family-${family}${isSelected ? " selected" : ""}${app.selection && !isSelected ? " behind" : ""}`,
    d: mark() ?? "",
    transform: `translate(${x(point.intensity)},${y(attainable(device, point))})`,
    "data-ops": point.ops.length,
    "data-op": point.ops[0],
    onclick: () => app.select(point.ops.length > 1 ? app.tree.ofOp[point.ops[0]].key : `op:${point.ops[0]}`),
    onpointerenter: () => tell(app, device, point, tip),
    onpointerleave: () => tell(app, device, points.find((each) => each.ops.some((op) => app.selection?.ops.has(op))) ?? null, tip),
  });
}

/** The reading under the picture. */
function tell(app: App, device: Device, point: Point | null, tip: HTMLElement): void {
  if (!point && !app.data.totals.flops) {
    replace(tip);
    return;
  }
  if (!point) {
    replace(tip, h("span", { class: "hint" }, "● waits for memory  ·  ■ bound by arithmetic  ·  area: FLOPs"));
    return;
  }
  const what = `${plural(point.ops.length, "op")} ${shown(app.data.of(point.ops[0], "target"))} ${app.data.of(point.ops[0], "inputs")}`;
  const bound = isCompute(device, point) ? "bound by arithmetic" : "waits for memory";
  const text = `: ${ratio(point.intensity)} FLOPs per byte, ${bound}, at best ${rate(attainable(device, point))}FLOP/s`;
  replace(tip, h("strong", {}, what), text);
}

/** The picture in words. */
function words(app: App, device: Device, points: Point[]): HTMLElement {
  const { data } = app;
  let [compute, memory] = [0, 0];
  for (const point of points) {
    const slow = point.bytes / device.bytes_per_second;
    const fast = point.flops / peakOf(device, point.dtype)[1];
    if (isCompute(device, point)) compute += fast;
    else memory += slow;
  }
  const counted = points.reduce((sum, point) => sum + point.bytes, 0);
  memory += (data.totals.access - counted) / device.bytes_per_second;
  const whole = compute + memory;
  const plain = points.some((point) => point.dtype === "float32") ? ", float32 without TF32" : "";
  const text = `One call takes no less than ${seconds(whole)} at these rates (peak, dense${plain}) if ops run one by one; ${percent(memory / whole)} of it waits for memory. A bound, no prediction.`;
  return h("span", { title: `Peak rates: ${device.source}` }, whole ? text : "Nothing to bound.");
}
