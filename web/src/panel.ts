// The frame that every view has.

import { h } from "./dom";

let last = 0;

export interface Panel {
  element: HTMLElement;
  body: HTMLElement;
  tools: HTMLElement;
  /** What the picture shows in words: seen by all, and read out as its description. */
  caption: HTMLElement;
  captionId: string;
}

export function panel(name: string, title: string): Panel {
  const id = `view-${++last}`;
  const tools = h("div", { class: "tools" });
  const body = h("div", { class: "body" });
  const caption = h("p", { class: "caption", id: `${id}-caption` });
  const heading = h("h2", { id }, title);
  const element = h("section", { class: `panel ${name}`, "aria-labelledby": id }, h("div", { class: "panel-head" }, heading, tools), body, caption);
  return { element, body, tools, caption, captionId: `${id}-caption` };
}
