"""Where a node belongs in the model, from what exporters write into its name or its metadata."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING

from flopscope.graph import Module

if TYPE_CHECKING:
    import onnx

_NAME_SCOPES, _CLASSES, _CALL = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy", "pkg.torch.onnx.fx_node"
_AGAIN = re.compile(r"_\d+$")


_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_NOWHERE = "_empty_nn_module_stack"
"""The start of what PyTorch writes for a call outside all modules."""


class Scopes:
    """The tree of modules that the names of nodes tell."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {"": ""}
        self._known: dict[str, str] = {}
        self._owners: set[str] = set()

    def learn(self, graph: onnx.GraphProto) -> None:
        """See which modules own weights, by the names of the weights."""
        for tensor in graph.initializer:
            path = tensor.name
            while "." in path:
                path = path.rpartition(".")[0]
                self._owners.add(path)

    def scope_of(self, node: onnx.NodeProto) -> str:
        """The scope of a node: the names of the modules around it, or the folders in its name; empty where it has none."""
        for entry in node.metadata_props:
            if entry.key == _NAME_SCOPES:
                return self._from_metadata(node, entry.value)
        name = node.name
        if "/" not in name:
            return ""
        folder = name.rpartition("/")[0]
        found = self._known.get(folder)
        if found is None:
            found = self._known[folder] = self._run_again(_path_of(folder))
            self.add(found)
        return found

    def _run_again(self, path: str) -> str:
        """The path without the counts that an exporter adds to modules that run more than once: ``tail_1`` ran second."""
        found = ""
        for name in path.split("."):
            inner = f"{found}.{name}" if found else name
            first = _AGAIN.sub("", inner)
            found = first if first != inner and first in self._classes and inner not in self._owners else inner
        return found

    def _from_metadata(self, node: onnx.NodeProto, text: str) -> str:
        if node.op_type in ("Conv", "ConvTranspose") and any(e.key == _CALL and "batch_norm" in e.value for e in node.metadata_props):
            owner = node.input[1].rpartition(".")[0]  # a batch norm was folded into it, and left its own facts there
            if owner in self._owners:
                self.add(owner)
                return owner
        around = text.rpartition(", ")[0]  # the last name is that of the op itself
        found = self._known.get(around)
        if found is not None:
            return found
        classes = next((_names_in(entry.value) for entry in node.metadata_props if entry.key == _CLASSES), [])
        names = _names_in(text)[:-1]
        named = [pair for pair in zip_longest(names, classes[: len(names)], fillvalue="") if not pair[0].startswith(_NOWHERE)]
        path = next((name for name, _ in reversed(named) if name), "")
        self._known[around] = path
        self.add(path)
        for name, class_name in named:
            self._classes[name] = class_name.rpartition(".")[2]
        return path

    def add(self, path: str, class_name: str = "") -> None:
        """Take a scope and all that lie around it into the tree."""
        while path and path not in self._classes:
            self._classes[path] = class_name
            path, class_name = path.rpartition(".")[0], ""

    def modules(self) -> list[Module]:
        """The tree, parents before children, in the order in which the scopes were met."""
        order: dict[str, list[str]] = {}
        for path in self._classes:
            if path:
                order.setdefault(path.rpartition(".")[0], []).append(path)
        listed: list[str] = []
        todo = [""]
        while todo:
            path = todo.pop()
            listed.append(path)
            todo += reversed(order.get(path, []))
        return [Module(path, self._classes[path], 1) for path in listed]


def _names_in(text: str) -> list[str]:
    """The names in a list that an exporter wrote as Python would; none where it is no such list."""
    return [single or double for single, double in _QUOTED.findall(text)] if text.startswith("[") else []


def _path_of(folder: str) -> str:
    """``/layer1/layer1.0/conv1`` is ``layer1.0.conv1``: a folder that starts with the one around it repeats its name."""
    parts: list[str] = []
    before = ""
    for name in folder.strip("/").split("/"):
        if not name:
            continue
        own = name.removeprefix(f"{before}.") if before else name
        parts.append(own or name)
        before = name
    return ".".join(parts)
