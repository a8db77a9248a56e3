"""Transformers models of 25 families against sums that people do by hand, and their parameters against the built model."""

from __future__ import annotations

from typing import Any

import pytest

import flopscope
from tests.families import arithmetic as by_hand

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

TWO = {"num_hidden_layers": 2}
FAMILIES: dict[str, tuple[dict[str, Any], by_hand.Sum]] = {
    "llama": (TWO, by_hand.decoder),
    "mistral": (TWO, by_hand.decoder),
    "qwen2": (TWO, by_hand.decoder),
    "qwen3": (TWO, lambda c, t: by_hand.decoder(c, t, head=c.head_dim)),
    "gemma": (TWO, lambda c, t: by_hand.decoder(c, t, head=c.head_dim)),
    "gemma2": (TWO, lambda c, t: by_hand.decoder(c, t, head=c.head_dim)),
    "phi": (TWO, lambda c, t: by_hand.old_decoder(c, t, c.intermediate_size)),
    "phi3": (TWO, by_hand.decoder),
    "stablelm": (TWO, by_hand.decoder),
    "olmo2": (TWO, by_hand.decoder),
    "starcoder2": (TWO, lambda c, t: by_hand.decoder(c, t, mlp=by_hand.plain)),
    "gpt_neox": (TWO, lambda c, t: by_hand.old_decoder(c, t, c.intermediate_size)),
    "gpt2": ({"n_layer": 2}, by_hand.gpt2),
    "opt": (TWO, lambda c, t: by_hand.old_decoder(c, t, c.ffn_dim)),
    "bloom": ({"n_layer": 2}, lambda c, t: by_hand.old_decoder(c, t, 4 * c.hidden_size)),
    "bert": (TWO, by_hand.masked_lm),
    "roberta": (TWO, by_hand.masked_lm),
    "mixtral": (TWO, by_hand.mixtral),
    "qwen3_moe": (TWO, by_hand.qwen3_moe),
    "deepseek_v3": ({"num_hidden_layers": 4}, by_hand.deepseek_v3),
    "vit": (TWO, by_hand.vit),
    "clip": ({}, by_hand.clip),
    "t5": ({"num_layers": 2, "num_decoder_layers": 2}, by_hand.t5),
    "bart": ({"encoder_layers": 2, "decoder_layers": 2}, by_hand.bart),
    "whisper": ({}, by_hand.whisper),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_the_sum_of_its_layers(family: str) -> None:
    settings, sum_of = FAMILIES[family]
    loaded = flopscope.load(f"hf:{family}", settings)
    report = flopscope.analyze(loaded.model, execute="never", **loaded.kwargs)
    ids = next((value for name, value in loaded.kwargs.items() if name.endswith("input_ids")), None)
    assert report.total.macs == sum_of(loaded.model.config, 0 if ids is None else ids.shape[1])
    assert report.total.params == sum(parameter.numel() for parameter in loaded.model.parameters())
    assert report.uncounted == []


def test_inputs_are_those_that_the_family_is_used_with() -> None:
    shapes = {
        "clip": {"input_ids": (1, 77), "pixel_values": (1, 3, 224, 224)},
        "detr": {"pixel_values": (1, 3, 800, 1066), "pixel_mask": (1, 800, 1066)},
        "whisper": {"input_features": (1, 80, 3000), "decoder_input_ids": (1, 128)},
        "siglip2": {"pixel_values": (1, 256, 16 * 16 * 3), "spatial_shapes": (1, 2)},
        "audio-spectrogram-transformer": {"input_values": (1, 1024, 128)},
        "wav2vec2": {"input_values": (1, 16000)},
        "sam": {"pixel_values": (1, 3, 1024, 1024)},
        "llava": {"input_ids": (1, 576 + 128), "pixel_values": (1, 3, 336, 336)},  # 24 x 24 patches of 14 pixels
    }
    for name, wanted in shapes.items():
        kwargs = flopscope.load(f"hf:{name}").kwargs
        assert {key: tuple(kwargs[key].shape) for key in wanted} == wanted, name


def test_towers_that_do_not_fit_together_are_read_as_text_and_the_note_says_so() -> None:
    loaded = flopscope.load("hf:qwen2_vl")  # its default config has image features of another width than the text
    assert list(loaded.kwargs) == ["input_ids"]
    assert "without pixel_values, image_grid_thw, so only the text path is counted" in (loaded.input_note or "")


def test_a_part_that_only_its_model_can_build_is_refused_with_the_model_to_take() -> None:
    with pytest.raises(
        flopscope.FlopscopeError, match=r"hf:sam_mask_decoder is a part of another model .* Analyse the whole model \(hf:sam\)"
    ):
        flopscope.load("hf:sam_mask_decoder")
