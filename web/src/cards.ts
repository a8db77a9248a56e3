// The totals, and what was not counted.

import type { App } from "./app";
import { h } from "./dom";
import { binary, exact, plural, ratio, shown, si } from "./format";

export function cards(app: App): HTMLElement {
  const { facts } = app.data;
  const { total, memory } = facts;
  const partial = Number(total.uncounted) > 0;
  const least = (text: string) => (partial ? `≥ ${text}` : text);
  const intensity = Number(total.access_bytes) ? `${ratio(Number(total.flops) / Number(total.access_bytes))} FLOPs per byte` : "no bytes moved";
  const weights = Number(memory.parameter_bytes) + Number(memory.buffer_bytes) + Number(memory.constant_bytes);
  return h(
    "section",
    { class: "cards", "aria-label": "Totals" },
    card("MACs", least(si(Number(total.macs))), exact(total.macs), "multiply-accumulates"),
    card("FLOPs", least(si(Number(total.flops))), exact(total.flops), "2 per MAC, and all else"),
    card("Parameters", si(Number(total.params)), exact(total.params), `weights ${binary(weights)}`),
    card("Access", least(si(Number(total.access_bytes), "B")), `${exact(total.access)} elements`, intensity),
    card("Peak memory", (memory.partial ? "≥ " : "") + binary(Number(memory.peak_bytes)), `${exact(memory.peak_bytes)} bytes`, peakPlace(app)),
    completeness(app),
  );
}

function card(name: string, value: string, exactly: string, note: string): HTMLElement {
  return h("div", { class: "card" }, h("h2", {}, name), h("p", { class: "value" }, value), h("p", { class: "exact" }, exactly), h("p", { class: "note", title: note }, note));
}

function peakPlace(app: App): string {
  const at = app.data.facts.memory.peak_at;
  return at === null ? "live tensors" : `at op ${at}, ${shown(app.data.of(at, "target"))}`;
}

function completeness(app: App): HTMLElement {
  const { facts, size } = app.data;
  const calls = Number(facts.total.uncounted);
  const head = calls ? plural(calls, "call") : "Complete";
  const text = calls ? "not counted: totals are lower bounds" : `${plural(size, "op")}, all counted`;
  const listed = facts.uncounted.map(({ op, calls: times, scope, why }) =>
    h("li", {}, h("code", {}, shown(op)), ` ${plural(times, "call")}, first in `, h("bdi", {}, shown(scope) || "the model itself"), why ? `: ${why}` : ""),
  );
  const notes = facts.notes.map((note) => h("li", {}, shown(note)));
  const more = [...listed, ...notes];
  return h(
    "div",
    { class: `card ${calls ? "partial" : "complete"}` },
    h("h2", {}, "Counted"),
    h("p", { class: "value" }, h("span", { class: "sign", "aria-hidden": "true" }, calls ? "! " : "✓ "), head),
    h("p", { class: "exact" }, text),
    more.length
      ? h("details", {}, h("summary", {}, [calls && plural(listed.length, "uncounted op"), notes.length && plural(notes.length, "note")].filter(Boolean).join(", ")), h("ul", {}, ...more))
      : h("p", { class: "note" }, "nothing to add"),
  );
}
