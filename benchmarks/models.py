"""The models that every counter is measured on, with the count each should report."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

IMAGE_SIZE = 224
TOKENS = 128

# Llama-7B, LlamaConfig() defaults, 128 tokens, counted by hand in MACs:
#   attention projections q, k, v, o    4 * 4096 * 4096          =  67_108_864 per token, layer
#   gated MLP: gate, up, down           3 * 4096 * 11008         = 135_266_304 per token, layer
#   32 layers                           32 * 202_375_168         = 6_476_005_376 per token
#   lm_head over every position         4096 * 32000             = 131_072_000 per token
#   128 tokens                          128 * 6_607_077_376      = 845_705_904_128
#   Q @ K^T and P @ V, full (unmasked)  32 * 2 * 128 * 128 * 4096 = 4_294_967_296
# The sum leaves out the rotary table (64 * 128 = 8192), which is below the digits compared.
LLAMA_7B_MACS = 845_705_904_128 + 4_294_967_296


@dataclass(frozen=True)
class BenchModel:
    """One model: how `--models` spells it, how tables spell it, and what limits it."""

    name: str
    title: str
    real_weights: bool = True
    weights_size: str = ""


MODELS: dict[str, BenchModel] = {
    entry.name: entry
    for entry in (
        BenchModel("resnet50", "ResNet-50"),
        BenchModel("mobilenet_v2", "MobileNetV2"),
        BenchModel("shufflenet_v2_x1_0", "ShuffleNetV2 x1.0"),
        BenchModel("densenet121", "DenseNet-121"),
        BenchModel("efficientnet_b0", "EfficientNet-B0"),
        BenchModel("vit_b_16", "ViT-B/16"),
        BenchModel("swin_t", "Swin-T"),
        BenchModel("convnext_tiny", "ConvNeXt-T"),
        BenchModel("llama_7b", "Llama-7B", real_weights=False, weights_size="27 GB"),
    )
}


def preload(name: str) -> None:
    """Import what building the model needs, so that no measurement pays for it."""
    importlib.import_module("torch")
    importlib.import_module("torchvision")
    if name == "llama_7b":
        importlib.import_module("transformers.models.llama.modeling_llama")


def build(name: str, device: str) -> tuple[Any, tuple[Any, ...]]:
    """Return the model in eval mode and its batch-1 input, both on `device`."""
    torch: Any = importlib.import_module("torch")  # late: listing models must not load it
    entry = MODELS[name]
    if device != "meta" and not entry.real_weights:
        raise ValueError(f"{entry.title} is only built on the meta device")
    torch.manual_seed(0)
    with torch.device(device):
        if name == "llama_7b":
            llama = importlib.import_module("transformers.models.llama")
            model = llama.LlamaForCausalLM(llama.LlamaConfig())
            inputs = torch.zeros(1, TOKENS, dtype=torch.long)
        else:
            torchvision = importlib.import_module("torchvision")
            model = torchvision.models.get_model(name, weights=None)
            inputs = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return model.eval(), (inputs,)


def published_gmacs(name: str) -> float:
    """Return the published count in GMACs: torchvision's own table, or the sum above.

    Torchvision prints three decimals and calls the unit GFLOPS; one multiply-accumulate
    counts as one there.
    """
    if name == "llama_7b":
        return round(LLAMA_7B_MACS / 1e9, 3)
    torchvision = importlib.import_module("torchvision")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    return float(weights.meta["_ops"])


def agrees(macs: float, published: float) -> bool:
    """Whether a count equals the published one in every digit that was printed."""
    return round(macs / 1e9, 3) == published


def deviation(macs: float | None, published: float) -> str:
    """Say `yes` for agreement in all printed digits, or how far off the count is."""
    if not macs:
        return "-"
    return "yes" if agrees(macs, published) else f"{(macs / 1e9 / published - 1) * 100:+.2f} %"
