"""Inputs for models of transformers, from their configs."""

from __future__ import annotations

import inspect
from typing import Any

import torch

TOKENS = 128
"""The length of text inputs where nobody asked for another."""
_AUDIO_SAMPLES = 16_000


def inputs_for(model: Any, config: Any) -> tuple[dict[str, Any], str]:
    """The inputs that the model's forward needs, and a note that says which were chosen.

    Args:
        model: the built model; its ``main_input_name`` says what it mainly reads.
        config: its config, which knows image sizes and the like.
    """
    main = model.main_input_name if isinstance(model.main_input_name, str) else model.main_input_name[0]
    names = inspect.signature(model.forward).parameters
    if main in ("pixel_values", "pixel_values_videos"):
        inputs = {main: _images(config, main)}
    elif main == "input_features":
        bins = _field(config, "num_mel_bins", "feature_size", "input_feat_per_channel", default=80)
        frames = 2 * _field(config, "max_source_positions", default=1500) if config.model_type == "whisper" else 1024
        shape = (1, bins, frames) if config.model_type == "whisper" else (1, frames, bins)
        inputs = {main: torch.empty(shape, device="meta")}
    elif main == "input_values":
        inputs = {main: torch.empty(1, _AUDIO_SAMPLES, device="meta")}
    else:
        inputs = {main: _ids(config)}
    if main != "input_ids" and "input_ids" in names and _is_needed_beside(model, main):
        inputs["input_ids"] = _ids(config)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in names:
        inputs["decoder_input_ids"] = _ids(config)
    text = ", ".join(f"{name} {'x'.join(map(str, value.shape))}" for name, value in inputs.items())
    return inputs, f"inputs: {text} (change with --input NAME=SHAPE)"


def _ids(config: Any) -> torch.Tensor:
    """Token ids that are no padding, so that masks derived from them are full."""
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    padding = getattr(text_config, "pad_token_id", None)
    limit = _field(text_config, "max_position_embeddings", "n_positions", default=TOKENS)
    value = 1 if padding in (None, 0) or not isinstance(padding, int) else 0
    return torch.full((1, min(TOKENS, limit)), value, dtype=torch.int64)


def _images(config: Any, name: str) -> torch.Tensor:
    vision = getattr(config, "vision_config", config)
    channels = _field(vision, "num_channels", "in_channels", "in_chans", default=3)
    size = _field(vision, "image_size", "img_size", default=224)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    frames = getattr(vision, "num_frames", None)
    if frames is not None or name == "pixel_values_videos":
        return torch.empty(1, frames or 16, channels, height, width, device="meta")
    return torch.empty(1, channels, height, width, device="meta")


def _is_needed_beside(model: Any, main: str) -> bool:
    """Models of images and text (CLIP and its kin) want both."""
    return main == "pixel_values" and hasattr(model.config, "text_config") and hasattr(model.config, "vision_config")


def _field(config: Any, *names: str, default: Any) -> Any:
    for name in names:
        value = getattr(config, name, None)
        if value is not None and value != -1:  # -1: without a limit
            return value
    return default
