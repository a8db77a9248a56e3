// Bundles the page into one script and one style sheet. `node build.mjs FOLDER` writes them elsewhere, to compare with what is checked in.
import { build } from "esbuild";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, "../flopscope/report/html/built");

await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.ts" },
  outdir: folder,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome111", "firefox113", "safari16.4"],
  charset: "ascii",
  legalComments: "inline",
  logLevel: "warning",
});
