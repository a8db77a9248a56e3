"""Models on which other tools are run beside ours: small enough to run for real, and of all the families that tools see differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Subject = tuple[nn.Module, tuple[torch.Tensor, ...]]
IDS = 32


def _image(side: int) -> tuple[torch.Tensor, ...]:
    return (torch.rand(1, 3, side, side),)


def _torchvision(name: str, side: int, **settings: Any) -> Callable[[], Subject]:
    def build() -> Subject:
        from torchvision.models import get_model

        return get_model(name, weights=None, **settings).eval(), _image(side)

    return build


def _timm(name: str) -> Callable[[], Subject]:
    def build() -> Subject:
        import timm

        model = timm.create_model(name).eval()
        return model, _image(model.pretrained_cfg["input_size"][-1])

    return build


def _hf(model: str, config: str, *, image: bool = False, **settings: Any) -> Callable[[], Subject]:
    def build() -> Subject:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()
        return made, _image(224) if image else (torch.zeros(1, IDS, dtype=torch.long),)

    return build


class Layers(nn.Module):
    """Layers of torch.nn that the models of libraries seldom have, one after the other; the batch is two."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(), nn.InstanceNorm2d(8, affine=True), nn.ConvTranspose2d(8, 8, 2, 2, groups=2),
            nn.GroupNorm(2, 8), nn.LeakyReLU(), nn.AvgPool2d(2), nn.ELU(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Softmax(1),
            nn.MaxPool2d(2), nn.BatchNorm2d(8, affine=False), nn.AdaptiveAvgPool2d(4), nn.ReLU6(),
        )  # fmt: skip
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True)
        self.mixed = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.low = nn.Linear(6, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens, _ = self.lstm(self.convs(x).flatten(2).transpose(1, 2))
        tokens = self.mixed(tokens)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return torch.matmul(self.low(tokens), self.low(tokens).transpose(1, 2)) @ tokens


class Shared(nn.Module):
    """A layer inside two modules, and run three times."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(4, 4)
        self.first, self.second = nn.Sequential(layer), nn.Sequential(layer, nn.ReLU(), layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


class Products(nn.Module):
    """Products of all ranks, by name and by equation."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.wide(x)
        batched = [
            torch.einsum("bij,bkj->bik", y, y), torch.einsum("bij,bj->bij", y, y[:, 0]), torch.einsum("...ij,...ij->...i", y, y),
            torch.einsum("bij,kj,kl->bil", y, y[0], y[0]), torch.matmul(y[0], y.transpose(1, 2)), torch.bmm(y, y.transpose(1, 2)),
        ]  # fmt: skip
        single = [torch.einsum("i,j->ij", y[0, 0], y[0, 1]), torch.mv(y[0], y[0, 0]), torch.addmm(y[0], y[0, :, :3], y[0])]
        added = torch.baddbmm(y, y[:, :, :3], y)
        return sum((part.sum() for part in (*batched, *single)), added.sum())


def _products() -> Subject:
    return Products().eval(), (torch.rand(2, 3, 4),)


def _layers() -> Subject:
    return Layers().eval(), (torch.rand(2, 3, 16, 16),)


def _shared() -> Subject:
    return Shared().eval(), (torch.rand(2, 4),)


_TINY = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100}

SAMPLE = ("layers", "shared", "products", "resnet18", "mobilenet_v3_small", "swin_t", "gpt2", "llama")
MODELS: dict[str, Callable[[], Subject]] = {
    "layers": _layers,
    "shared": _shared,
    "products": _products,
    **{
        name: _torchvision(name, 64)
        for name in (
            "resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x1_0", "mnasnet0_5", "efficientnet_b0",
            "regnet_y_400mf", "convnext_tiny", "swin_t", "squeezenet1_1", "vgg11_bn",
        )
    },
    "alexnet": _torchvision("alexnet", 96),
    "googlenet": _torchvision("googlenet", 96, init_weights=False, aux_logits=False),
    "vit_b_16": _torchvision("vit_b_16", 32, image_size=32),
    "fcn_resnet50": _torchvision("fcn_resnet50", 64, weights_backbone=None),
    "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", 64, weights_backbone=None),
    **{
        name: _timm(name)
        for name in (
            "vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s32_224", "resmlp_12_224", "convnext_atto", "coat_lite_tiny",
            "cait_xxs24_224", "crossvit_tiny_240", "efficientformer_l1", "gmlp_ti16_224", "lambda_resnet26t", "levit_128s", "mobilevit_xxs",
            "nf_resnet26", "pit_ti_224", "poolformer_s12", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "twins_pcpvt_small",
            "xcit_nano_12_p16_224",
        )
    },
    "gpt2": _hf("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_embd=64, n_head=4, vocab_size=100, use_cache=False),
    "bert": _hf("BertModel", "BertConfig", **_TINY),
    "distilbert": _hf("DistilBertModel", "DistilBertConfig", n_layers=2, dim=64, hidden_dim=128, n_heads=4, vocab_size=100),
    "llama": _hf("LlamaForCausalLM", "LlamaConfig", **_TINY, use_cache=False),
    "mixtral": _hf("MixtralForCausalLM", "MixtralConfig", **_TINY, num_key_value_heads=2, num_local_experts=4, use_cache=False),
    "t5": _hf("T5EncoderModel", "T5Config", num_layers=2, d_model=64, d_kv=16, d_ff=128, num_heads=4, vocab_size=100),
    "hf-vit": _hf("ViTModel", "ViTConfig", image=True, **{name: size for name, size in _TINY.items() if name != "vocab_size"}),
    "hf-convnext": _hf("ConvNextModel", "ConvNextConfig", image=True, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64]),
    "hf-swin": _hf("SwinModel", "SwinConfig", image=True, depths=[1, 1, 1, 1], embed_dim=24, num_heads=[1, 2, 2, 4]),
}  # fmt: skip
