"""Classic machine learning (ai.onnx.ml): scalers, encoders, linear models, support vectors, trees.

Coefficients and trees are attributes of the nodes. They are no tensors of the file, and hence no parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.table import CLASSIC, lowers
from flopscope.frontends.onnx.values import Call, Slot


def _held(call: Call, shape: Sequence[int]) -> Slot:
    """Numbers that an attribute holds."""
    numbers = call.between(shape, "float32")
    call.add("empty", numbers)
    return numbers


@lowers("ArrayFeatureExtractor", domain=CLASSIC)
def extract(call: Call) -> None:
    """``[*, k] = X[.., indices]``."""
    call.add("index_select", call.out, input=call[0], index=call[1])


@lowers("Binarizer", domain=CLASSIC)
def binarize(call: Call) -> None:
    """``z = x > threshold``."""
    call.add("gt", call.out, input=call[0])


@lowers("CastMap", "CategoryMapper", "DictVectorizer", "LabelEncoder", "ZipMap", domain=CLASSIC)
def look_up(call: Call) -> None:
    """Elements are put elsewhere, or others are looked up for them: no arithmetic."""
    call.add("clone", call.out, input=call[0])


@lowers("FeatureVectorizer", domain=CLASSIC)
def join(call: Call) -> None:
    """``[n, sum f] = cat([n, f], ...)``."""
    call.add("cat", call.out, tensors=tuple(slot for slot in call.inputs if slot is not None))


@lowers("Imputer", domain=CLASSIC)
def impute(call: Call) -> None:
    """Every element is compared with the mark of a missing one."""
    found = call.between(call.out.shape, "bool")
    call.add("eq", found, input=call[0])
    call.add("where", call.out, condition=found, input=call[0])


@lowers("Normalizer", domain=CLASSIC)
def normalize(call: Call) -> None:
    """``x / |x|`` row by row."""
    x = call[0]
    norms = call.between((*x.shape[:-1], 1), call.out.dtype)
    call.add("amax" if call.attr("norm", "MAX") == "MAX" else "norm", norms, input=x)
    call.add("div", call.out, input=x, other=norms)


@lowers("OneHotEncoder", domain=CLASSIC)
def encode(call: Call) -> None:
    """``[*, k] = x == category``."""
    call.add("one_hot", call.out, input=call[0])


@lowers("Scaler", domain=CLASSIC)
def scale(call: Call) -> None:
    """``(x - offset) * scale``."""
    shifted = call.between(call.out.shape, call.out.dtype)
    call.add("sub", shifted, input=call[0])
    call.add("mul", call.out, input=shifted)


_AFTER = {"SOFTMAX": "softmax", "SOFTMAX_ZERO": "softmax", "LOGISTIC": "sigmoid", "PROBIT": "erfinv"}


def _rows(call: Call) -> tuple[int, int]:
    """Samples, and features of each."""
    shape = call[0].shape
    return (shape[0] if len(shape) > 1 else 1), (shape[-1] if shape else 1)


def _finish(call: Call, scores: Slot, *, classifies: bool) -> None:
    """The activation behind the scores, and of a classifier the class of the greatest."""
    outputs = [*call.outputs, None][:2]
    target = outputs[1] if classifies else outputs[0]
    kind = _AFTER.get(call.attr("post_transform", "NONE"))
    if target is not None and kind is not None:
        call.add(kind, target, input=scores)
    elif target is not None:
        call.add("alias", target, view=True, input=scores)
    if classifies and outputs[0] is not None:
        call.add("argmax", outputs[0], input=scores)


@lowers("LinearClassifier", "LinearRegressor", domain=CLASSIC)
def linear(call: Call) -> None:
    """``[n, e] = linear([n, f], [e, f], [e])``, and for a classifier the greatest score."""
    rows, features = _rows(call)
    scores = max(len(call.attr("coefficients", ())) // max(features, 1), 1)
    result = call.between((rows, scores), "float32")
    x = _matrix(call, rows, features)
    bias = _held(call, (scores,)) if call.attr("intercepts") else None
    call.add("linear", result, input=x, weight=_held(call, (scores, features)), bias=bias)
    _finish(call, result, classifies=call.op == "LinearClassifier")


def _matrix(call: Call, rows: int, features: int) -> Slot:
    if len(call[0].shape) == 2:
        return call[0]
    x = call.between((rows, features), call[0].dtype)
    call.add("view", x, view=True, input=call[0])
    return x


_KERNELS = {"POLY": ("mul", "add", "pow"), "RBF": ("mul", "exp"), "SIGMOID": ("mul", "add", "tanh")}


@lowers("SVMClassifier", "SVMRegressor", domain=CLASSIC)
def support_vectors(call: Call) -> None:
    """The kernel of every sample with every support vector, and a product with the coefficients: one per class but the last."""
    rows, features = _rows(call)
    x = _matrix(call, rows, features)
    vectors = len(call.attr("support_vectors", ())) // max(features, 1)
    coefficients = len(call.attr("coefficients", ()))
    kind = call.attr("kernel_type", "LINEAR")
    if vectors:
        kernel = call.between((rows, vectors), "float32")
        distance = kind == "RBF"
        call.add("cdist" if distance else "matmul", kernel, a=x, b=_held(call, (vectors, features) if distance else (features, vectors)))
        for step in _KERNELS.get(kind, ()):
            result = call.between(kernel.shape, kernel.dtype)
            call.add(step, result, input=kernel)
            kernel = result
        x, features = kernel, vectors
    columns = max(coefficients // max(features, 1), 1)
    scores = call.between((rows, columns), "float32")
    call.add("linear", scores, input=x, weight=_held(call, (columns, features)), bias=_held(call, (columns,)))
    _finish(call, scores, classifies=call.op == "SVMClassifier")


# -- trees ------------------------------------------------------------------------------------------------------------------------


@lowers("TreeEnsembleClassifier", "TreeEnsembleRegressor", domain=CLASSIC)
def trees(call: Call) -> None:
    """For every sample and tree the comparisons along its longest path, an upper bound, and the sum of the leaves."""
    _walk(call, _depths_by_id(call.attributes), classifies=call.op == "TreeEnsembleClassifier")


@lowers("TreeEnsemble", domain=CLASSIC)
def tree_ensemble(call: Call) -> None:
    """The same, for trees that are written with the places of their nodes."""
    _walk(call, _depths_by_place(call.attributes), classifies=False)


def _walk(call: Call, depths: Sequence[int], *, classifies: bool) -> None:
    rows, _ = _rows(call)
    outputs = [slot for slot in call.outputs if slot is not None]
    targets = outputs[-1].shape[-1] if len(outputs[-1].shape) > 1 else 1
    comparisons = call.between((rows, sum(depths)), "bool")
    call.add("lt", comparisons, input=call[0])
    leaves = call.between((rows, len(depths), targets), "float32")
    call.add("take", leaves, input=_held(call, (len(depths), targets)), index=comparisons)
    scores = call.between((rows, targets), "float32")
    call.add("sum", scores, input=leaves)
    _finish(call, scores, classifies=classifies)


def _depths_by_id(attributes: Mapping[str, Any]) -> list[int]:
    """The comparisons on the longest path of each tree, whose nodes are named by tree and node."""
    columns = [attributes.get(f"nodes_{name}", ()) for name in ("treeids", "nodeids", "truenodeids", "falsenodeids", "modes")]
    children: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}
    for tree, node, yes, no, mode in zip(*columns, strict=False):
        children[tree, node] = () if mode == "LEAF" else ((tree, yes), (tree, no))
    depths = _heights(children)
    inner = {child for pair in children.values() for child in pair}
    return [depth for node, depth in depths.items() if node not in inner]


def _depths_by_place(attributes: Mapping[str, Any]) -> list[int]:
    """The same for nodes that name their children by place, and say whether each is a leaf."""
    columns = [attributes.get(f"nodes_{name}", ()) for name in ("truenodeids", "trueleafs", "falsenodeids", "falseleafs")]
    children = {
        place: tuple(node for node, is_leaf in ((yes, yes_leaf), (no, no_leaf)) if not is_leaf)
        for place, (yes, yes_leaf, no, no_leaf) in enumerate(zip(*columns, strict=False))
    }
    depths = _heights(children)
    return [depths[root] + 1 if root in depths else 0 for root in attributes.get("tree_roots", ())]


def _heights(children: Mapping[Any, Sequence[Any]]) -> dict[Any, int]:
    """The longest way down from each node.

    Raises:
        InputError: a node is its own descendant.
    """
    heights: dict[Any, int] = {}
    for start in children:
        todo, above = [start], set()
        while todo:
            node = todo[-1]
            open_ones = [child for child in children.get(node, ()) if child not in heights]
            if node in heights:
                todo.pop()
            elif not open_ones:
                heights[node] = max((heights[child] + 1 for child in children.get(node, ())), default=0)
                above.discard(todo.pop())
            elif node in above:
                raise InputError("a node of its trees is its own descendant")
            else:
                above.add(node)
                todo += open_ones
    return heights
