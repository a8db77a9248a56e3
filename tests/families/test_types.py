"""Types of transformers on shapes alone: parameters of the built model, every op priced, a graph that keeps its laws.

A sample in every run; all that are listed with ``FLOPSCOPE_ALL=1``.
"""

from __future__ import annotations

import pytest

import flopscope
from tests.conformance.checks import ALL

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SAMPLE = (
    "albert", "audio-spectrogram-transformer", "beit", "blip", "clip", "convnext", "detr", "gpt_oss", "llava_next", "mamba2", "sam",
    "siglip2", "swin", "wav2vec2", "xlnet",
)  # fmt: skip
TYPES = (
    "align", "altclip", "bart", "bert", "bit", "blenderbot", "bloom", "camembert", "canine", "chinese_clip", "clap",
    "clipseg", "codegen", "cohere", "cohere2", "conditional_detr", "convbert", "convnextv2", "cvt", "dab-detr", "data2vec-audio", "deberta",
    "deberta-v2", "deepseek_v3", "deit", "depth_anything", "dinov2", "distilbert", "donut-swin", "dpt", "efficientnet", "electra",
    "encodec", "ernie", "ernie4_5_moe", "exaone4", "falcon", "falcon_h1", "falcon_mamba", "flex_olmo", "fnet", "focalnet", "funnel",
    "gemma", "gemma2", "gemma3_text", "git", "glm", "glm4", "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "granite",
    "granitemoe", "groupvit", "hiera", "hubert", "ibert", "imagegpt", "jamba", "layoutlm", "layoutlmv3", "levit", "lilt", "llama",
    "llama4_text", "llava", "llava_onevision", "longt5", "mamba", "marian", "markuplm", "mask2former", "mbart", "megatron-bert", "minimax",
    "mistral", "mixtral", "mllama", "mobilebert", "mobilenet_v2", "mobilevit", "mobilevitv2", "modernbert", "moonshine", "mpnet", "mpt",
    "mvp", "nystromformer", "olmo", "olmo2", "olmoe", "openai-gpt", "opt", "owlvit", "pegasus", "perceiver", "phi", "phi3",
    "phimoe", "plbart", "poolformer", "prophetnet", "pvt", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "recurrent_gemma", "regnet", "resnet",
    "roberta", "roformer", "rt_detr", "rwkv", "seamless_m4t", "segformer", "sew", "siglip", "smollm3", "speech_to_text", "speecht5",
    "splinter", "squeezebert", "stablelm", "starcoder2", "swiftformer", "swin2sr", "swinv2", "t5", "t5gemma", "table-transformer",
    "timesformer", "trocr", "umt5", "unispeech", "videomae", "vipllava", "visual_bert", "vit", "vit_mae", "vitdet", "vivit", "wavlm",
    "whisper", "xglm", "xlm", "xlm-roberta", "yolos", "yoso", "zamba", "zamba2", "zoedepth",
)  # fmt: skip
WAITING = {"aten::_is_all_true", "aten::diff"}
"""Ops without arithmetic that matters, which may be without a rule yet."""


@pytest.mark.parametrize("name", sorted({*SAMPLE, *TYPES}) if ALL else SAMPLE)
def test_a_type_is_analysed_on_shapes_alone(name: str) -> None:
    loaded = flopscope.load(f"hf:{name}")
    report = flopscope.analyze(loaded.model, execute="never", **loaded.kwargs)
    assert report.total.params == len_of_parameters(loaded.model)
    assert report.total.macs > 0
    assert {row.op for row in report.uncounted} <= WAITING
    report.graph.verify()


def len_of_parameters(model: object) -> int:
    return sum(parameter.numel() for parameter in model.parameters())  # type: ignore[attr-defined]
