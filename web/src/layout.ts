// Where the nodes of the graph are: each open node is laid out on its own, and is then one large box in its parent.

import * as dagre from "@dagrejs/dagre";
import type { Data } from "./data";
import { edgesOf, IN, OUT, type Edge } from "./dataflow";
import type { Node, Tree } from "./tree";

export const BOX = { width: 172, height: 50 };
const HEAD = 30; // pixels of the title of an open node
const PORT = 12;
const PADDING = 12;

export interface Placed {
  node: Node;
  x: number;
  y: number;
  width: number;
  height: number;
  /** What is inside, for an open node. */
  inside: Inside | null;
}

export interface Inside {
  nodes: Placed[];
  ports: { x: number; y: number; name: string }[];
  edges: { points: { x: number; y: number }[]; from: string; to: string }[];
  width: number;
  height: number;
}

/** Lays out what is inside a node, and inside whatever in it is open. */
export function inside(data: Data, tree: Tree, node: Node, open: Set<string>): Inside {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 22, ranksep: 20, marginx: PADDING, marginy: PADDING });
  graph.setDefaultEdgeLabel(() => ({}));
  const children = new Map<string, { node: Node; inside: Inside | null }>();
  for (const child of node.children) {
    const isOpen = open.has(child.key) && child.children.length > 0;
    const within = isOpen ? inside(data, tree, child, open) : null;
    children.set(child.key, { node: child, inside: within });
    graph.setNode(child.key, within ? { width: Math.max(within.width, BOX.width), height: within.height + HEAD } : { ...BOX });
  }
  const edges = withoutPlainPorts(edgesOf(data, tree, node), node !== tree.root);
  for (const { from, to } of edges) {
    for (const port of [from, to]) if (port === IN || port === OUT) graph.setNode(port, { width: PORT, height: PORT });
    graph.setEdge(from, to);
  }
  dagre.layout(graph);
  return read(graph, children);
}

/** Where only one child gets what comes into an open node, or only one gives what leaves it, the arrow to the frame says it all. */
function withoutPlainPorts(edges: Edge[], isFramed: boolean): Edge[] {
  if (!isFramed) return edges;
  const [entries, exits] = [edges.filter(({ from }) => from === IN), edges.filter(({ to }) => to === OUT)];
  return edges.filter(({ from, to }) => !(from === IN && entries.length === 1) && !(to === OUT && exits.length === 1));
}

function read(graph: dagre.graphlib.Graph, children: Map<string, { node: Node; inside: Inside | null }>): Inside {
  const found: Inside = { nodes: [], ports: [], edges: [], width: 0, height: 0 };
  for (const name of graph.nodes()) {
    const { x, y, width, height } = graph.node(name) as { x: number; y: number; width: number; height: number };
    const child = children.get(name);
    if (child) found.nodes.push({ ...child, x: x - width / 2, y: y - height / 2, width, height });
    else found.ports.push({ x, y, name });
  }
  for (const edge of graph.edges()) {
    const points = (graph.edge(edge) as { points?: { x: number; y: number }[] }).points ?? [];
    found.edges.push({ points, from: edge.v, to: edge.w });
  }
  const { width, height } = graph.graph() as { width?: number; height?: number };
  found.width = Number.isFinite(width) ? width! : BOX.width + 2 * PADDING;
  found.height = Number.isFinite(height) ? height! : BOX.height + 2 * PADDING;
  return found;
}

export const HEAD_HEIGHT = HEAD;
