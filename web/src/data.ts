// What the file holds, and what follows from it for each op. The form of the data is described in facts.py.

type Count = number | string; // a whole number too long for a browser travels as text

export interface Device {
  key: string;
  name: string;
  bytes_per_second: number;
  flops_per_second: Record<string, number>;
  source: string;
}

export interface Facts {
  format: number;
  flopscope: string;
  model: string;
  inputs: string[];
  notes: string[];
  uncounted: { op: string; calls: number; scope: string; why: string }[];
  total: Record<"macs" | "flops" | "params" | "access" | "access_bytes" | "bytes_read" | "bytes_written" | "uncounted", Count>;
  memory: Record<"peak_bytes" | "input_bytes" | "parameter_bytes" | "buffer_bytes" | "constant_bytes" | "total_bytes" | "planned_bytes", Count> & {
    peak_at: number | null;
    partial: boolean;
  };
  families: Record<string, string>;
  devices: Device[];
  modules: Record<"parent" | "name" | "class" | "calls" | "output" | "uncounted", number[]> & Record<"macs" | "flops" | "params" | "access_bytes", Count[]>;
  signatures: Record<"target" | "kind" | "family" | "inputs" | "outputs" | "dtype" | "attributes" | "uncounted", number[]> &
    Record<"macs" | "flops" | "access_bytes", Count[]>;
  ops: Record<"signature" | "scope" | "name" | "times", number[]> & { params: Count[]; own_params: Count[]; reads: number[][] };
  outputs: number[];
  pieces: Record<"born" | "died" | "producer" | "type" | "what", number[]> & { bytes: Count[] };
  texts: string[];
}

export const METRICS = ["macs", "flops", "params", "access", "made", "peak"] as const;
export type Metric = (typeof METRICS)[number];

/** How a metric is called in a switch and in a sentence, and what follows its value. */
export const METRIC_NAMES: Record<Metric, { short: string; long: string; after: string }> = {
  macs: { short: "MACs", long: "multiply-accumulates", after: "multiply-accumulates" },
  flops: { short: "FLOPs", long: "floating-point operations", after: "floating-point operations" },
  params: { short: "Params", long: "parameters", after: "parameters" },
  access: { short: "Access", long: "bytes read and written", after: "read and written" },
  made: { short: "Activations", long: "bytes of the tensors made", after: "of tensors made" },
  peak: { short: "At peak", long: "bytes alive at the peak", after: "alive at the peak, inputs apart" },
};

export class Data {
  readonly size: number;
  /** By metric, the value of each op; of `params`, those that belong to the module that ran it. */
  readonly opValues: Record<Metric, Float64Array>;
  readonly moduleValues: Record<Metric, Float64Array>;
  readonly totals: Record<Metric, number>;
  readonly params: Float64Array;
  readonly uncounted: Uint8Array;
  /** Live bytes while each op runs. */
  readonly live: Float64Array;
  readonly pieceBytes: Float64Array;
  readonly paths: string[];
  readonly moduleOf = new Map<string, number>();
  /** The ops that read what an op makes. */
  readonly readers: number[][];
  private readonly within: number[][];

  constructor(readonly facts: Facts) {
    const { ops, modules } = facts;
    this.size = ops.signature.length;
    this.paths = pathsOf(facts);
    this.paths.forEach((path, module) => this.moduleOf.set(path, module));
    this.pieceBytes = numbers(facts.pieces.bytes);
    this.live = liveBytes(facts, this.pieceBytes, this.size);
    const each = (name: "macs" | "flops" | "access_bytes") => Float64Array.from(ops.signature, (kind, op) => Number(facts.signatures[name][kind]) * ops.times[op]);
    this.opValues = { macs: each("macs"), flops: each("flops"), params: numbers(ops.own_params), access: each("access_bytes"), ...this.memoryOfOps() };
    this.params = numbers(ops.params);
    this.uncounted = Uint8Array.from(ops.signature, (kind) => (facts.signatures.uncounted[kind] ? 1 : 0));
    this.within = this.opsWithin();
    const sums = (values: Float64Array) => Float64Array.from(this.within, (inside) => inside.reduce((sum, op) => sum + values[op], 0));
    this.moduleValues = {
      macs: numbers(modules.macs),
      flops: numbers(modules.flops),
      params: numbers(modules.params),
      access: numbers(modules.access_bytes),
      made: sums(this.opValues.made),
      peak: sums(this.opValues.peak),
    };
    this.totals = { ...this.sumsOf(), params: Number(facts.total.params) };
    this.readers = Array.from({ length: this.size }, () => []);
    ops.reads.forEach((reads, op) => reads.forEach((read) => read > 0 && this.readers[op - read].push(op)));
  }

  text(number: number): string {
    return this.facts.texts[number];
  }

  /** A text about an op that belongs to its signature. */
  of(op: number, name: "target" | "kind" | "family" | "inputs" | "outputs" | "dtype" | "attributes"): string {
    return this.text(this.facts.signatures[name][this.facts.ops.signature[op]]);
  }

  scope(op: number): string {
    return this.paths[this.facts.ops.scope[op]];
  }

  /** The ops inside a module, at any depth, in order. */
  opsOf(module: number): number[] {
    return this.within[module];
  }

  /** FLOPs per byte of an op, or 0 where there are none. */
  intensity(op: number): number {
    const bytes = this.opValues.access[op];
    return bytes ? this.opValues.flops[op] / bytes : 0;
  }

  /** The pieces of memory that are held while an op runs, the largest first. */
  aliveAt(op: number): number[] {
    const { born, died } = this.facts.pieces;
    const found: number[] = [];
    for (let piece = 0; piece < born.length; piece++) if (born[piece] <= op && op < died[piece]) found.push(piece);
    return found.sort((a, b) => this.pieceBytes[b] - this.pieceBytes[a]);
  }

  private sumsOf(): Record<Metric, number> {
    const total = this.facts.total;
    const sum = (values: Float64Array) => values.reduce((all, value) => all + value, 0);
    return {
      macs: Number(total.macs),
      flops: Number(total.flops),
      params: Number(total.params),
      access: Number(total.access_bytes),
      made: sum(this.opValues.made),
      peak: sum(this.opValues.peak),
    };
  }

  private memoryOfOps(): { made: Float64Array; peak: Float64Array } {
    const { born, died, producer } = this.facts.pieces;
    const made = new Float64Array(this.size);
    const peak = new Float64Array(this.size);
    const at = this.facts.memory.peak_at ?? -1;
    producer.forEach((op, piece) => {
      if (op < 0) return;
      made[op] += this.pieceBytes[piece];
      if (born[piece] <= at && at < died[piece]) peak[op] += this.pieceBytes[piece];
    });
    return { made, peak };
  }

  private opsWithin(): number[][] {
    const within: number[][] = this.paths.map(() => []);
    const { parent } = this.facts.modules;
    this.facts.ops.scope.forEach((scope, op) => {
      for (let module = scope; module >= 0; module = parent[module]) within[module].push(op);
    });
    return within;
  }
}

function numbers(counts: Count[]): Float64Array {
  return Float64Array.from(counts, Number);
}

function pathsOf(facts: Facts): string[] {
  const paths: string[] = [];
  facts.modules.parent.forEach((parent, module) => {
    const above = parent < 0 ? "" : paths[parent];
    const name = facts.texts[facts.modules.name[module]];
    paths.push(above ? `${above}.${name}` : name);
  });
  return paths;
}

function liveBytes(facts: Facts, bytes: Float64Array, size: number): Float64Array {
  const changes = new Float64Array(size + 2);
  facts.pieces.born.forEach((born, piece) => {
    changes[born + 1] += bytes[piece];
    changes[Math.min(facts.pieces.died[piece], size) + 1] -= bytes[piece];
  });
  const live = new Float64Array(size);
  let sum = changes[0];
  for (let op = 0; op < size; op++) live[op] = sum += changes[op + 1];
  return live;
}
