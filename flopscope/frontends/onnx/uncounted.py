"""The ONNX ops that are known and have no price, each with the reason. A total with such an op says "at least"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TEXTS = "its work is that of the characters, whose number a tensor of texts does not say"

UNCOUNTED: Final[Mapping[str, str]] = {
    "ai.onnx::ImageDecoder": "its work and the size of its result depend on the bytes of a compressed image",
    "ai.onnx::RegexFullMatch": _TEXTS,
    "ai.onnx::StringConcat": _TEXTS,
    "ai.onnx::StringNormalizer": _TEXTS,
    "ai.onnx::StringSplit": _TEXTS,
    "ai.onnx::TfIdfVectorizer": "it looks up n-grams in a table, and how many it compares depends on the data",
    "ai.onnx.preview.training::Gradient": "it stands for the gradients of the nodes before it, whose ops the file does not name",
}
"""The reason for each op, by its domain and name."""
