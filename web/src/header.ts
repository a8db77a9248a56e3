// The bar on top: the model, the metric, the theme, and the copy as Markdown.

import type { App, State } from "./app";
import { METRICS, METRIC_NAMES } from "./data";
import { h, replace } from "./dom";
import { shown } from "./format";
import { markdown } from "./markdown";
import { valueText } from "./values";

const THEMES: [State["theme"], string][] = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];

export function header(app: App): HTMLElement {
  const { facts } = app.data;
  const status = h("div", { class: "unseen", role: "status", "aria-live": "polite", id: "status" });
  const theme = h("select", { id: "theme", "aria-label": "Theme", onchange: () => app.set({ theme: theme.value as State["theme"] }) });
  theme.append(...THEMES.map(([value, name]) => h("option", { value }, name)));
  const chosen = h("div", { class: "chosen" });
  const draw = () => {
    theme.value = app.state.theme;
    if (app.state.theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = app.state.theme;
    replace(chosen, chip(app));
  };
  draw();
  app.on((changed) => {
    draw();
    if (changed.has("select")) status.textContent = app.selection ? `Selected ${nameOf(app)}` : "Nothing selected";
    if (changed.has("metric")) status.textContent = `Showing ${METRIC_NAMES[app.state.metric].long}`;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !(event.target instanceof HTMLInputElement && event.target.type === "search") && !event.defaultPrevented) app.select("");
  });
  const inputs = shown(facts.inputs.join(", ")) || "no inputs";
  return h(
    "header",
    { class: "top" },
    h("div", { class: "title" }, h("h1", {}, h("bdi", {}, shown(facts.model))), h("p", { title: inputs }, inputs)),
    metrics(app),
    chosen,
    h("div", { class: "actions" }, copyButton(app, status), theme),
    status,
  );
}

/** The switch of the metric: one of several, as radio buttons are. */
function metrics(app: App): HTMLElement {
  const group = h("div", { class: "switch", role: "radiogroup", "aria-label": "Metric" });
  const buttons = METRICS.map((metric) =>
    h("button", { type: "button", role: "radio", title: METRIC_NAMES[metric].long, "data-metric": metric, onclick: () => app.set({ metric }) }, METRIC_NAMES[metric].short),
  );
  group.append(...buttons);
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (METRICS.indexOf(app.state.metric) + step + METRICS.length) % METRICS.length;
    app.set({ metric: METRICS[next] });
    buttons[next].focus();
  });
  const draw = () =>
    buttons.forEach((button, place) => {
      const isChosen = METRICS[place] === app.state.metric;
      button.setAttribute("aria-checked", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
    });
  draw();
  app.on((changed) => changed.has("metric") && draw());
  return group;
}

export function nameOf(app: App): string {
  const found = app.selection;
  if (!found) return "";
  if (found.op !== null) return `op ${found.op}, ${shown(app.data.of(found.op, "target"))}`;
  if (found.module !== null) return shown(app.data.paths[found.module]) || shown(app.data.facts.model);
  const times = found.node.repeats > 1 ? `${found.node.repeats} × ` : "";
  return `${times}${found.node.label} (${found.node.type})`;
}

function chip(app: App): HTMLElement | null {
  if (!app.selection) return h("span", { class: "hint" }, "Nothing selected");
  return h(
    "span",
    { class: "chip" },
    h("bdi", {}, nameOf(app)),
    h("button", { type: "button", "aria-label": "Clear the selection", title: "Clear the selection (Escape)", onclick: () => app.select("") }, "×"),
  );
}

function copyButton(app: App, status: HTMLElement): HTMLElement {
  const button = h("button", { type: "button", class: "button", id: "copy", onclick: copy }, "Copy as Markdown");
  async function copy(): Promise<void> {
    const text = markdown(app, valueText);
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      status.textContent = "Copied as Markdown";
      setTimeout(() => (button.textContent = "Copy as Markdown"), 1500);
    } catch {
      offer(text);
    }
  }
  return button;
}

/** Where a browser lets no page write to the clipboard, the text is there to be copied by hand. */
function offer(text: string): void {
  const area = h("textarea", { readonly: true, rows: 16, "aria-label": "The report as Markdown" });
  area.value = text;
  const dialog = h("dialog", { class: "offer" }, h("p", {}, "Copy this text:"), area, h("form", { method: "dialog" }, h("button", { class: "button" }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}
