"""Which class of transformers a config builds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

from flopscope.errors import SpecError

_SEES = "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING"
_HEADS = (
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING", "AutoModelForSeq2SeqLM"),
    ("MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING", "AutoModelForSpeechSeq2Seq"),
    ("MODEL_FOR_CAUSAL_LM_MAPPING", "AutoModelForCausalLM"),
    ("MODEL_FOR_MASKED_LM_MAPPING", "AutoModelForMaskedLM"),
    (_SEES, "AutoModelForImageTextToText"),
    ("MODEL_MAPPING", "AutoModel"),
    ("MODEL_FOR_KEYPOINT_DETECTION_MAPPING", "AutoModelForKeypointDetection"),
    ("MODEL_FOR_KEYPOINT_MATCHING_MAPPING", "AutoModelForKeypointMatching"),
    ("MODEL_FOR_DEPTH_ESTIMATION_MAPPING", "AutoModelForDepthEstimation"),
    ("MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING", "AutoModelForSemanticSegmentation"),
    ("MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING", "AutoModelForUniversalSegmentation"),
    ("MODEL_FOR_OBJECT_DETECTION_MAPPING", "AutoModelForObjectDetection"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "AutoModelForImageClassification"),
    ("MODEL_FOR_BACKBONE_MAPPING", "AutoBackbone"),
)
"""What a type is mostly used as comes first: a language model with its head, then the bare model, then a task that it alone serves."""


def class_for(transformers: Any, config: Any) -> Any:
    """The class that the config names, else what the type is mostly used as, else the model class written for this config.

    Raises:
        SpecError: nothing can be built from the config alone.
    """
    for name in config.architectures or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    auto = transformers.models.auto.modeling_auto
    kind = config.model_type
    heads = sorted(_HEADS, key=lambda head: head[0] != _SEES) if hasattr(config, "vision_config") else _HEADS
    for mapping, auto_class in heads:
        is_masked = mapping == "MODEL_FOR_CAUSAL_LM_MAPPING" and kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if kind in getattr(auto, f"{mapping}_NAMES", ()) and not is_masked and type(config) in getattr(auto, mapping):
            return getattr(transformers, auto_class)
    found = sorted(_written_for(config), key=_preference)
    if not found:
        package = type(config).__module__.split(".")[-2]
        raise SpecError(
            f"hf:{kind} is a part of another model and cannot be built from its config alone. Analyse the whole model (hf:{package}), "
            "or write a factory and give path/to/file.py:factory"
        )
    return found[0]


def _written_for(config: Any) -> Iterator[Any]:
    """The model classes in the config's own package whose config is of this type."""
    package = importlib.import_module(type(config).__module__.rpartition(".")[0])
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("modeling_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for model_class in vars(module).values():
            is_model = inspect.isclass(model_class) and hasattr(model_class, "_from_config") and model_class.__module__ == module.__name__
            if is_model and _config_class(model_class) is type(config) and _has_forward(model_class):
                yield model_class


def _config_class(model_class: Any) -> Any:
    """The type of config that the constructor of a class says it takes."""
    annotation = inspect.signature(model_class.__init__).parameters.get("config")
    found = None if annotation is None else annotation.annotation
    if isinstance(found, str):
        found = getattr(inspect.getmodule(model_class), found, None)
    return found if inspect.isclass(found) else model_class.config_class


def _has_forward(model_class: Any) -> bool:
    return getattr(model_class.forward, "__name__", "") != "_forward_unimplemented" and not model_class.__name__.endswith("PreTrainedModel")


def _preference(model_class: Any) -> tuple[int, int, str]:
    """Whole models before bare ones before those with a task's head; the shortest name first."""
    name = model_class.__name__
    rank = 0 if name.endswith("ForConditionalGeneration") else 1 if name.endswith("Model") else 2 if "For" in name or "With" in name else 3
    return rank, len(name), name
