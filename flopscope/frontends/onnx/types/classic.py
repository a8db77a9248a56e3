"""Types of the ops of classic machine learning (ai.onnx.ml), most of which ONNX does not infer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.frontends.onnx.dtypes import NAMES, UNDEFINED
from flopscope.frontends.onnx.ops.table import CLASSIC
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.types.standard import dtype_in, shape_in
from flopscope.frontends.onnx.types.table import infers, same_as
from flopscope.frontends.onnx.values import Value

Values = Sequence[Value | None]
Attributes = Mapping[str, Any]


@infers("Imputer", "Binarizer", domain=CLASSIC)
def like_first(values: Values, _: Attributes, outputs: int) -> list[Typed]:
    """Outputs like the input."""
    return [same_as(values[0])] * outputs


@infers("Scaler", "Normalizer", domain=CLASSIC)
def floats_like_first(values: Values, _: Attributes, __: int) -> list[Typed]:
    """Floats in the shape of the input."""
    return [("float32", shape_in(values, 0))]


@infers("LabelEncoder", "CategoryMapper", domain=CLASSIC)
def encoded(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """The shape of the input, with the element type of the values; without any, texts become numbers and numbers texts."""
    named = {"values_strings": "string", "values_int64s": "int64", "values_floats": "float32"}
    dtype = next((dtype for name, dtype in named.items() if attributes.get(name)), None)
    if dtype is None and attributes.get("values_tensor") is not None:
        dtype = NAMES.get(attributes["values_tensor"].data_type, UNDEFINED)
    return [(dtype or ("int64" if dtype_in(values, 0) == "string" else "string"), shape_in(values, 0))]


@infers("OneHotEncoder", domain=CLASSIC)
def one_hot(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[*, k]``."""
    x = shape_in(values, 0)
    categories = len(attributes.get("cats_int64s", ()) or attributes.get("cats_strings", ()))
    return [("float32", None if x is None else (*x, categories))]


@infers("FeatureVectorizer", domain=CLASSIC)
def features(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[n, sum f]``."""
    shapes = [shape_in(values, position) for position in range(len(values))]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or not known:
        return [("float32", None)]
    widths = attributes.get("inputdimensions") or [shape[-1] if shape else 1 for shape in known]
    return [("float32", (known[0][0] if len(known[0]) > 1 else 1, sum(widths)))]


@infers("ArrayFeatureExtractor", domain=CLASSIC)
def extracted(values: Values, _: Attributes, __: int) -> list[Typed]:
    """``[*, k]``, with a leading one for a vector."""
    x, places = shape_in(values, 0), shape_in(values, 1)
    if x is None or places is None:
        return [(dtype_in(values, 0), None)]
    return [(dtype_in(values, 0), (*(x[:-1] or (1,)), places[-1] if places else 1))]


@infers("DictVectorizer", domain=CLASSIC)
def vector(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[1, k]`` for a vocabulary of k."""
    return [(dtype_in(values, 0), (1, len(attributes.get("int64_vocabulary", ()) or attributes.get("string_vocabulary", ()))))]


@infers("CastMap", domain=CLASSIC)
def dense(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[1, k]`` for a map with k entries, or as many as a sparse one may have."""
    x = shape_in(values, 0)
    dtype = {"TO_STRING": "string", "TO_INT64": "int64"}.get(attributes.get("cast_to", "TO_FLOAT"), "float32")
    size = attributes.get("max_map", 1) if attributes.get("map_form", "DENSE") == "SPARSE" else None if x is None else x[0]
    return [(dtype, (1, size))]


@infers("ZipMap", domain=CLASSIC)
def maps(values: Values, _: Attributes, __: int) -> list[Typed]:
    """A map per row; what all of them hold has the shape of the input."""
    return [("float32", shape_in(values, 0))]


def _samples(values: Values) -> int | None:
    x = shape_in(values, 0)
    return None if x is None else x[0] if len(x) > 1 else 1


@infers("LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor", "TreeEnsemble", domain=CLASSIC)
def regression(values: Values, attributes: Attributes, _: int) -> list[Typed]:
    """``[n, targets]``."""
    dtype = "float64" if dtype_in(values, 0) == "float64" and "tree_roots" in attributes else "float32"
    if dtype_in(values, 0) == "float16" and "tree_roots" in attributes:
        dtype = "float16"
    return [(dtype, (_samples(values), attributes.get("targets", attributes.get("n_targets", 1))))]


@infers("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier", domain=CLASSIC)
def classification(values: Values, attributes: Attributes, outputs: int) -> list[Typed]:
    """``[n]`` labels and ``[n, classes]`` scores; the votes of support vectors without probabilities are one per pair of classes."""
    texts = attributes.get("classlabels_strings", ())
    labels = texts or attributes.get("classlabels_int64s", ()) or attributes.get("classlabels_ints", ())
    classes = len(labels) or len(attributes.get("intercepts", ())) or 1
    if "vectors_per_class" in attributes and not attributes.get("prob_a") and classes > 2:
        classes = classes * (classes - 1) // 2
    rows = _samples(values)
    found: list[Typed] = [("string" if texts else "int64", (rows,)), ("float32", (rows, classes))]
    return found[:outputs]
