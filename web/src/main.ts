// Reads the data of the file and puts the page together.

import "./style.css";
import { App } from "./app";
import { cards } from "./cards";
import { Data, type Facts } from "./data";
import { details } from "./details";
import { h } from "./dom";
import { graph } from "./graph";
import { header } from "./header";
import { icicle } from "./icicle";
import { memory } from "./memory";
import { roofline } from "./roofline";
import { table } from "./table";

function start(): void {
  const facts = JSON.parse(document.getElementById("facts")!.textContent!) as Facts;
  const app = new App(new Data(facts));
  const page = document.getElementById("page")!;
  page.append(
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the views"),
    header(app),
    h(
      "main",
      { id: "main", tabindex: "-1" },
      cards(app),
      h("div", { class: "row wide-left" }, icicle(app), details(app)),
      h("div", { class: "row" }, graph(app), h("div", { class: "column" }, roofline(app), memory(app))),
      table(app),
    ),
    h("footer", {}, `flopscope ${facts.flopscope} · counted from shapes alone; the model was not run`),
  );
  document.documentElement.dataset.ready = "1";
}

/** Goes to the views without touching the address, which holds the state. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")!.focus();
}

start();
