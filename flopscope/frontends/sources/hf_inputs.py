"""Inputs for models of transformers, from their configs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from flopscope.errors import FlopscopeError
from flopscope.frontends.sources.hf_media import Inputs, audio, field, images, patches

TOKENS = 128
"""The length of text inputs where nobody asked for another."""
_PIXELS = ("pixel_values", "pixel_values_videos", "images", "flattened_patches")
_SOUND = ("input_features", "input_values", "audio_values", "input_audio_embeds")
_PLACEHOLDERS = {
    "image": ("image_token_id", "image_token_index", "media_placeholder_token_id", "img_context_token_id", "special_image_token_id"),
    "audio": ("audio_token_id", "audio_token_index"),
}


def inputs_for(model: Any, config: Any, tokens: int | None = None) -> tuple[Inputs, str]:
    """The inputs that the model's forward needs, and a note that says which were chosen.

    Images and sound are what the family's own processor makes of a blank picture of 480 x 640 or of one second, unless the config states
    a size of its own; text is of 128 tokens beside one placeholder for each feature of the image or sound.

    Args:
        model: the built model; its ``main_input_name`` says what it mainly reads.
        config: its config, which knows image sizes and the like.
        tokens: the length of the text, with its placeholders, in place of 128 beside them.
    """
    names = inspect.signature(model.forward).parameters
    inputs, dropped = _media(model, config, names)
    if _reads_text(model, config, names, inputs):
        text, lost = _text(model, config, inputs, tokens)
        if lost:
            inputs, dropped = {}, list(inputs)
        inputs = {"input_ids": text, **inputs}
        if "mm_token_type_ids" in names and "image_grid_thw" in inputs:
            inputs["mm_token_type_ids"] = (text != text[:, -1:]).long()  # which of the tokens are placeholders
    if "decoder_input_ids" in names and (getattr(config, "is_encoder_decoder", False) or hasattr(config, "decoder")):
        inputs["decoder_input_ids"] = token_ids(config)
    inputs |= _extras(model, config, names, inputs)
    return inputs, note_of(inputs, dropped)


def note_of(inputs: Mapping[str, Any], dropped: list[str] | tuple[str, ...] = ()) -> str:
    """The sentence that says which inputs were chosen."""
    shapes = ((name, "x".join(map(str, value.shape)) or "()") for name, value in inputs.items() if hasattr(value, "shape"))
    text = ", ".join(f"{name} {shape}" for name, shape in shapes)
    without = f"; without {', '.join(dropped)}, so only the text path is counted" if dropped else ""
    return f"inputs: {text}{without} (change with --input NAME=SHAPE)"


def token_ids(config: Any, length: int | None = None, batch: int = 1) -> torch.Tensor:
    """Token ids that are no padding, so that masks derived from them are full."""
    text_config = text_config_of(config)
    padding = getattr(text_config, "pad_token_id", None)
    limit = field(text_config, "max_position_embeddings", "n_positions", "max_target_positions", default=TOKENS)
    value = 1 if padding in (None, 0) or not isinstance(padding, int) else 0
    size = length if length is not None else min(TOKENS, limit) if isinstance(limit, int) else TOKENS
    return torch.full((batch, size), value, dtype=torch.int64)


def text_config_of(config: Any) -> Any:
    """The config of the language model inside."""
    try:
        return config.get_text_config() if hasattr(config, "get_text_config") else config
    except (ValueError, AttributeError):
        return config


# -- images and sound ---------------------------------------------------------------------------------------


def main_name(model: Any) -> str:
    """What a model mainly reads."""
    main = model.main_input_name
    return str(main if isinstance(main, str) else main[0])


def _media(model: Any, config: Any, names: Mapping[str, Any]) -> tuple[Inputs, list[str]]:
    inputs: Inputs = {}
    required = required_names(names)
    main = main_name(model)
    for grid, pixels in (("grid_thw", "hidden_states"), ("grid_thw", "pixel_values"), ("image_grid_thw", "pixel_values")):
        if grid in names and pixels in names and (grid in required or hasattr(config, "vision_config")):
            return patches(config, pixels, grid), []
    sees = next((name for name in _PIXELS if name in names), None)
    if sees is not None and (sees in (main, *required) or _pairs_text_with(config, "vision_config", names)):
        inputs |= images(config, names, sees)
    hears = next((name for name in _SOUND if name in names), None)
    if hears is not None and (hears in (main, *required) or (not inputs and _pairs_text_with(config, "audio_config", names))):
        inputs |= audio(config, names, hears)
    return inputs, []


def _pairs_text_with(config: Any, part: str, names: Mapping[str, Any]) -> bool:
    """Whether a model of text has a tower for something else, too."""
    return hasattr(config, part) or (part == "vision_config" and ("bbox" not in names) and not hasattr(config, "text_config"))


def required_names(names: Mapping[str, Any]) -> list[str]:
    """The parameters without which forward cannot be called."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, p in names.items() if p.default is inspect.Parameter.empty and p.kind in kinds]


# -- text ---------------------------------------------------------------------------------------------------


def _reads_text(model: Any, config: Any, names: Mapping[str, Any], inputs: Inputs) -> bool:
    if "input_ids" not in names:
        return False
    return not inputs or main_name(model) == "input_ids" or "input_ids" in required_names(names) or hasattr(config, "text_config")


def _text(model: Any, config: Any, inputs: Inputs, tokens: int | None) -> tuple[torch.Tensor, bool]:
    """Token ids, with a placeholder for every feature that the model puts in their place; and whether the features could not be had."""
    ids = token_ids(config, tokens)
    for kind, fields in _PLACEHOLDERS.items():
        token = field(config, *fields, default=None)
        source = _method(model, f"get_{kind}_features")
        if not inputs or source is None or not any(hasattr(config, name) for name in fields):
            continue
        wanted = inspect.signature(source).parameters
        given = {name: value for name, value in inputs.items() if name in wanted}
        if not given:
            continue
        features = _features(source, given)
        width, vocabulary = (field(text_config_of(config), name, default=None) for name in ("hidden_size", "vocab_size"))
        if features is None or width not in (None, features[1]):  # default configs of towers that do not fit together
            return ids, main_name(model) == "input_ids"
        if vocabulary is not None and (token is None or token >= vocabulary):  # a default config without a place for it
            token = vocabulary - 1
            for name in fields:
                if hasattr(config, name):
                    setattr(config, name, token)
        rest = ids if tokens is None else ids[:, : max(0, ids.shape[1] - features[0])]
        ids = torch.cat([torch.full((1, features[0]), token, dtype=ids.dtype), rest], 1)
    return ids, False


def _method(model: Any, name: str) -> Callable[..., Any] | None:
    for holder in (model, getattr(model, "model", None)):
        found = getattr(holder, name, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
    return None


def _features(source: Callable[..., Any], given: Inputs) -> tuple[int, int] | None:
    """How many features the model makes of an image, and how wide: what its own method returns on the shapes."""
    from flopscope.frontends.torch.trace import trace

    found: list[torch.Tensor] = []

    def call(**inputs: Any) -> Any:
        made = source(**inputs)
        found.extend(_tensors(getattr(made, "pooler_output", made)))
        return made

    call.__self__ = getattr(source, "__self__", None)  # type: ignore[attr-defined]  # the weights belong to the model
    try:
        trace(call, (), given, execute="never")
    except FlopscopeError:
        return None
    widths = {tensor.shape[-1] for tensor in found}
    return (sum(tensor.numel() // tensor.shape[-1] for tensor in found), widths.pop()) if len(widths) == 1 and 0 not in widths else None


def _tensors(made: Any) -> list[torch.Tensor]:
    if isinstance(made, (list, tuple)):
        return [tensor for item in made for tensor in _tensors(item)]
    return [made] if isinstance(made, torch.Tensor) and made.dim() else []


# -- whatever else a family wants -----------------------------------------------------------------------------


def _extras(model: Any, config: Any, names: Mapping[str, Any], inputs: Inputs) -> Inputs:
    """Inputs that only some families know, by the name of the parameter."""
    required = required_names(names)
    hears = any(name in inputs for name in _SOUND)
    found: Inputs = {}
    for name, make in _EXTRAS.items():
        if name in names and name not in inputs and (name in required or name in _ALWAYS) and (hears or make is not _mask_of):
            found[name] = make(config, inputs)
    if not inputs and "input_ids" not in names and not found:
        found[main_name(model)] = token_ids(config)
    return found


def _hidden(config: Any, length: int, *fields: str) -> torch.Tensor:
    return torch.empty(1, length, field(config, *fields, "hidden_size", "d_model", default=768), device="meta")


def _past(config: Any) -> int:
    return int(field(config, "context_length", "prediction_length", default=32) + max(field(config, "lags_sequence", default=[0])))


def _mask_of(_: Any, inputs: Inputs) -> torch.Tensor:
    """A mask that hides nothing, over the frames of the features."""
    features = next(value for name, value in inputs.items() if name in _SOUND)
    return torch.ones(1, max(features.shape[1:]), dtype=torch.int64)


_ALWAYS = ("bbox", "visual_feats", "visual_pos", "past_values", "input_features_mask", "feature_attention_mask")
_EXTRAS: dict[str, Callable[[Any, Inputs], Any]] = {
    "bbox": lambda _, inputs: torch.zeros(*next(iter(inputs.values())).shape[:2], 4, dtype=torch.int64),
    "visual_feats": lambda config, _: torch.empty(1, 36, field(config, "visual_feat_dim", default=2048), device="meta"),
    "visual_pos": lambda *_: torch.empty(1, 36, 4, device="meta"),
    "query_embeds": lambda config, _: _hidden(config, 32),
    "encoder_hidden_states": lambda config, _: _hidden(config, TOKENS, "encoder_hidden_size", "cross_attention_hidden_size"),
    "hidden_states": lambda config, _: _hidden(config, TOKENS),
    "inputs_embeds": lambda config, _: _hidden(config, TOKENS),
    "qformer_input_ids": lambda *_: torch.zeros(1, 32, dtype=torch.int64),
    "task_inputs": lambda config, _: torch.zeros(1, field(config, "task_seq_len", default=77), dtype=torch.int64),
    "input_features_mask": _mask_of,
    "feature_attention_mask": _mask_of,
    "audio_mel_mask": _mask_of,
    "states": lambda config, _: torch.empty(1, 20, field(config, "state_dim", default=17), device="meta"),
    "past_values": lambda config, _: torch.empty(1, _past(config), field(config, "num_input_channels", default=1), device="meta"),
    "noise_level": lambda *_: torch.empty(1, device="meta"),
}
