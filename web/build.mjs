// Bundles the page into one script and one style sheet. `node build.mjs FOLDER` writes them elsewhere, to compare with what is checked in.
import { build } from "esbuild";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, "../flopscope/report/html/built");

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.ts" },
  outdir: folder,
  bundle: true,
  minify: true,
  metafile: true,
  format: "iife",
  target: ["chrome111", "firefox113", "safari16.4"],
  charset: "ascii",
  legalComments: "none",
  logLevel: "warning",
});

// Every page is a copy of these packages, so every page carries their licences.
const texts = new Map();
for (const name of packages(Object.keys(metafile.inputs))) {
  const text = licence(join(here, "node_modules", name));
  texts.set(text, [...(texts.get(text) ?? []), name]);
}
const notices = [...texts].map(([text, names]) => `${names.join(", ")}:\n${text}`);
const file = join(folder, "page.js");
writeFileSync(file, `/* This page contains:\n\n${notices.join("\n\n").replaceAll("*/", "* /")}\n*/\n${readFileSync(file, "utf8")}`);

function packages(inputs) {
  const names = inputs.map((input) => input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
  return [...new Set(names.filter(Boolean))].sort();
}

function licence(path) {
  const name = readdirSync(path).find((each) => /^licen[cs]e/i.test(each));
  if (!name || !existsSync(join(path, name))) throw new Error(`no licence in ${path}`);
  return readFileSync(join(path, name), "utf8").replaceAll("\r", "").trim();
}
