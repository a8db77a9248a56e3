// Numbers and names as people read them. The same words as in the tables of the command line.

const PREFIXES = "kMGTPE";

/** A count with four digits and a decimal prefix: 4089184256 is "4.089 G". Counts below 10,000 are written out. */
export function si(count: number, unit = ""): string {
  if (Math.abs(count) < 10_000) return `${trimmed(count)} ${unit}`.trimEnd();
  const rounded = Number(count.toExponential(3).split("e")[1]);
  const exponent = Math.min(Math.floor(rounded / 3), PREFIXES.length);
  const digits = Math.max(0, 3 - (rounded - 3 * exponent));
  return `${(count / 1000 ** exponent).toFixed(digits)} ${PREFIXES[exponent - 1]}${unit}`;
}

/** Bytes with three digits and a binary prefix: 9633792 is "9.19 MiB". */
export function binary(count: number): string {
  if (Math.abs(count) < 1024) return `${trimmed(count)} B`;
  let exponent = 1;
  while (Math.abs(count) >= 999.5 * 1024 ** exponent && exponent < PREFIXES.length) exponent += 1;
  const value = count / 1024 ** exponent;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${PREFIXES[exponent - 1].toUpperCase()}iB`;
}

/** A count in full, with a comma at each thousand. Long ones travel as texts, and lose nothing here. */
export function exact(count: number | string): string {
  return BigInt(typeof count === "number" ? Math.round(count) : count).toLocaleString("en-US");
}

export function percent(share: number): string {
  if (!Number.isFinite(share) || share === 0) return "0 %";
  if (share < 0.001) return "< 0.1 %";
  return `${(100 * share).toFixed(share >= 0.9995 ? 0 : 1)} %`;
}

/** A ratio with three digits, such as FLOPs per byte. */
export function ratio(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(3)).toString();
}

export function seconds(value: number): string {
  const [scale, unit] = value >= 1 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
  return `${Number((value * scale).toPrecision(3))} ${unit}`;
}

function trimmed(count: number): string {
  return Number.isInteger(count) ? String(count) : count.toFixed(1);
}

// Characters that no one sees, or that turn the text around them: in a name they are shown by their number.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A name that came with the model, safe to stand beside other text. */
export function shown(name: string): string {
  return name.replace(UNSEEN, (character) => `‹U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}
