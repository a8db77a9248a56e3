"""Images and audio for models of transformers: what the family's own processor makes of a blank picture or a second of silence."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import torch

PHOTO = (480, 640)
"""Height and width of the picture that processors are given: a common size of photos."""
_AUDIO_SECONDS = 1
_OWN_GEOMETRY = ("grid", "image_size", "spatial", "aspect", "pixel_attention", "position_ids", "target_size", "num_crops")
"""Parts of the names of inputs that say how an image was cut up: only the family's own processor can fill them."""

_PAIRS = ("efficientloftr", "lightglue", "superglue")
"""Types that match the points of two pictures."""

Inputs = dict[str, Any]


def images(config: Any, names: Collection[str], name: str) -> Inputs:
    """The image inputs that a forward with parameters of these names takes, of which ``name`` holds the pixels."""
    vision = _part(config, "vision_config")
    size = field(vision, "image_size", "img_size", default=None)
    channels = field(vision, "num_channels", "in_channels", "in_chans", default=3)
    channels = channels if isinstance(channels, int) else 3
    frames = field(vision, "num_frames", default=None)
    video = frames is not None or name == "pixel_values_videos"
    if config.model_type in _PAIRS:
        return {name: torch.empty(1, 2, channels, *PHOTO, device="meta")}
    cut_up = [key for key in names if any(part in key for part in _OWN_GEOMETRY) and key != "position_ids"]
    made = _processed_image(config, names, size) if not video and (cut_up or size is None) else {}
    if name in made and (size is None or set(made) & set(cut_up)):
        return made
    height, width = (224, 224) if size is None else (size, size) if isinstance(size, int) else (size[0], size[-1])
    shape = (1, frames or 16, channels, height, width) if video else (1, channels, height, width)
    return {name: torch.empty(shape, device="meta")}


def patches(config: Any, pixels: str, grid: str) -> Inputs:
    """The flattened patches of a square image, and the grid in which they lie: what encoders of the Qwen2-VL kind read."""
    vision = _part(config, "vision_config")
    patch = field(vision, "patch_size", default=14)
    depth = field(vision, "temporal_patch_size", default=1)
    channels = field(vision, "in_channels", "num_channels", "in_chans", default=3)
    side = 2 * max(1, field(vision, "spatial_merge_size", default=2)) * 4
    flat = torch.empty(side * side, channels * depth * patch * patch, device="meta")
    return {pixels: flat, grid: torch.tensor([[1, side, side]])}


def audio(config: Any, names: Collection[str], name: str) -> Inputs:
    """The audio inputs that a forward takes, of which ``name`` holds the samples or features."""
    sound = _part(config, "audio_config", "audio_encoder", "encoder_config")
    made = _processed_audio(config, names, field(sound, "num_mel_bins", default=None))
    stacked = field(sound, "feature_projection_input_dim", "input_dim", default=None)  # several frames side by side
    if name in made:
        if isinstance(stacked, int) and made[name].dim() == 3:
            made[name] = torch.empty(*made[name].shape[:2], stacked, device="meta")
        if made[name].dim() == 4 and not getattr(sound, "enable_fusion", True):
            made[name] = made[name][:, :1]  # the whole sound only, without the excerpts that fusion adds
        return made
    if name == "input_values":
        return {name: torch.empty(1, field(sound, "sampling_rate", default=16_000), device="meta")}
    bins = stacked or field(sound, "num_mel_bins", "feature_size", "input_feat_per_channel", default=80)
    frames = 2 * field(sound, "max_source_positions", default=500)
    has_frames_last = hasattr(sound, "max_source_positions") and stacked is None  # the encoders of the Whisper kind
    frames = frames if has_frames_last else 1024
    return {name: torch.empty((1, bins, frames) if has_frames_last else (1, frames, bins), device="meta")}


def field(config: Any, *names: str, default: Any) -> Any:
    """The first field of a config that has a value."""
    for name in names:
        value = getattr(config, name, None)
        if value is not None and value != -1:  # -1: without a limit
            return value
    return default


def _part(config: Any, *names: str) -> Any:
    """A config inside a config, or the config itself; some of them are plain dicts."""
    for name in names:
        part = getattr(config, name, None)
        if part is not None and hasattr(part, "to_dict"):
            return part
    return config


def _processed_image(config: Any, names: Collection[str], size: Any) -> Inputs:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    processor = _processor(config, IMAGE_PROCESSOR_MAPPING_NAMES)
    if processor is None:
        return {}
    picture = torch.zeros(3, *PHOTO, dtype=torch.uint8)
    made = _outputs(lambda: processor(images=picture, return_tensors="pt", **_sizes(processor, size)), names) if size else {}
    return made or _outputs(lambda: processor(images=picture, return_tensors="pt"), names)


def _sizes(processor: Any, size: Any) -> Inputs:
    """The options that make a processor cut images to the size that the config states."""
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    own, crop = getattr(processor, "size", None), getattr(processor, "crop_size", None)
    options: Inputs = {"crop_size": {"height": height, "width": width}} if crop else {}
    if own and getattr(own, "shortest_edge", None) and not getattr(own, "longest_edge", None):
        return {"size": {"shortest_edge": min(height, width)}, **options}
    return {"size": {"height": height, "width": width}, **options} if own and getattr(own, "height", None) else options


def _processed_audio(config: Any, names: Collection[str], bins: int | None) -> Inputs:
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    extractor = _processor(config, FEATURE_EXTRACTOR_MAPPING_NAMES, **({"feature_size": bins} if bins else {}))
    if extractor is None:
        return {}
    import numpy as np

    rate = getattr(extractor, "sampling_rate", 16_000)
    silence = np.random.default_rng(0).normal(size=rate * _AUDIO_SECONDS).astype(np.float32)
    return _outputs(lambda: extractor(silence, sampling_rate=rate, return_tensors="pt"), names)


def _processor(config: Any, mapping: Any, **options: Any) -> Any:
    """The processor of a type, or of the package that its config is from, as it is made without any file."""
    import transformers

    package = type(config).__module__.split(".")[-2]
    found = next((mapping[kind] for kind in (config.model_type, package, package.replace("_", "-")) if mapping.get(kind)), None)
    if isinstance(found, dict):
        found = found.get("torchvision") or found.get("pil")
    elif isinstance(found, (tuple, list)):
        found = found[-1] or found[0]
    try:
        return getattr(transformers, found)(**options) if found else None
    except Exception:  # noqa: BLE001 - a processor may need files or packages that are not here
        return None


def _outputs(process: Any, names: Collection[str]) -> Inputs:
    """What a processor makes, as far as the model takes it. Its floating-point data is let go."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = process()
    except Exception:  # noqa: BLE001 - whatever a processor does not like about the blank input
        return {}
    return {name: bare(value) for name, value in made.items() if name in names and isinstance(value, torch.Tensor)}


def bare(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without its data if it is of floating point."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") if tensor.is_floating_point() else tensor
