"""Models to export: how each is built, and what it is given. Images and widths are small, so that exporting is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]
Builder = Callable[[], Built]


def _torchvision(name: str, *shape: int, **options: Any) -> Builder:
    def build() -> Built:
        from torchvision.models import get_model

        return get_model(name, weights=None, **options), (torch.randn(shape or (1, 3, 64, 64)),)

    return build


def _segmentation(name: str, size: int) -> Builder:
    def build() -> Built:
        from torchvision.models import get_model

        return _Item(get_model(name, weights=None, weights_backbone=None), "out"), (torch.randn(1, 3, size, size),)

    return build


def _timm(name: str, size: int = 64, **options: Any) -> Builder:
    def build() -> Built:
        import timm

        return timm.create_model(name, pretrained=False, **options), (torch.randn(1, 3, size, size),)

    return build


def _ids(length: int = 16) -> Tensor:
    return torch.arange(length).reshape(1, length) % 90 + 2


_POOLED = ("BertModel", "AlbertModel", "MobileBertModel", "ViTModel")


def _transformer(model: str, config: str, *inputs: Callable[[], Tensor], encoder: bool = False, **options: Any) -> Builder:
    def build() -> Built:
        import transformers

        pooled = {"add_pooling_layer": False} if model in _POOLED else {}  # its result is not returned, and exporters drop it
        made = getattr(transformers, model)(getattr(transformers, config)(**options), **pooled)
        made = made.get_encoder() if encoder else made
        return _First(made), tuple(make() for make in inputs)

    return build


class _First(nn.Module):
    """A model of transformers that returns its first output alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, return_dict=False, **self._options())[0]

    def _options(self) -> dict[str, Any]:
        config = getattr(self.model, "config", None)
        return {"use_cache": False} if getattr(config, "use_cache", None) else {}


class _Item(nn.Module):
    """A model whose outputs have names, of which one is wanted."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)[self.name]


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.recurrent = kind(8, 12, **options)
        self.head = nn.Linear(24 if options.get("bidirectional") else 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0])


class _Upsampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 12, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.norm = nn.GroupNorm(3, 12)
        self.act = nn.PReLU(12)
        self.shuffle = nn.PixelShuffle(2)
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.shuffle(self.act(self.norm(self.up(x)))))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attention(y, y, y, need_weights=False)[0]


class _Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(4, 16, 8))
        self.scale = nn.Parameter(torch.randn(1))
        self.register_buffer("table", torch.randn(10, 10))

    def forward(self, x: Tensor) -> Tensor:
        q = torch.einsum("bnd,hde->bhne", x, self.query)
        scores = torch.einsum("bhne,bhme->bhnm", q, q) * self.scale + self.table
        return torch.einsum("bhnm,bhme->bnhe", scores.softmax(-1), q)


class _Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8, padding_idx=0)
        self.bag = nn.EmbeddingBag(50, 8, mode="sum")
        self.out = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.words(ids).mean(1) + self.bag(ids))


class _Tied(nn.Module):
    """A language model whose last layer shares the table of words, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 12)
        self.twice = nn.Linear(12, 12)
        self.head = nn.Linear(12, 40, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        return self.head(self.twice(self.twice(x).relu()))


def _own(make: Callable[[], nn.Module], *shape: int) -> Builder:
    return lambda: (make(), (torch.randn(shape),))


_SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 100,
    "max_position_embeddings": 64,
}  # fmt: skip
_DECODER: dict[str, Any] = {**_SMALL, "num_key_value_heads": 2}
_VISION: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32, "patch_size": 8,
}  # fmt: skip


def _image(size: int = 32) -> Callable[[], Tensor]:
    return lambda: torch.randn(1, 3, size, size)


TORCHVISION: dict[str, Builder] = {
    "alexnet": _torchvision("alexnet", 1, 3, 224, 224),
    "vgg11_bn": _torchvision("vgg11_bn", 1, 3, 224, 224, num_classes=10),
    "resnet18": _torchvision("resnet18"),
    "resnext50_32x4d": _torchvision("resnext50_32x4d"),
    "densenet121": _torchvision("densenet121"),
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small"),
    "shufflenet_v2_x0_5": _torchvision("shufflenet_v2_x0_5"),
    "squeezenet1_1": _torchvision("squeezenet1_1"),
    "mnasnet0_5": _torchvision("mnasnet0_5"),
    "efficientnet_b0": _torchvision("efficientnet_b0"),
    "regnet_y_400mf": _torchvision("regnet_y_400mf"),
    "convnext_tiny": _torchvision("convnext_tiny"),
    "swin_t": _torchvision("swin_t"),
    "vit_b_32": _torchvision("vit_b_32", image_size=64),
    "googlenet": _torchvision("googlenet", aux_logits=False, init_weights=False),
    "lraspp_mobilenet_v3_large": _segmentation("lraspp_mobilenet_v3_large", 64),
    "fcn_resnet50": _segmentation("fcn_resnet50", 64),
    "r3d_18": _torchvision("r3d_18", 1, 3, 4, 32, 32),
}
TIMM: dict[str, Builder] = {
    "mixer_s32_224": _timm("mixer_s32_224", 64, img_size=64),
    "resmlp_12_224": _timm("resmlp_12_224", 64, img_size=64),
    "levit_128s": _timm("levit_128s", 224),
    "poolformer_s12": _timm("poolformer_s12"),
    "edgenext_xx_small": _timm("edgenext_xx_small"),
    "ghostnet_100": _timm("ghostnet_100"),
    "mobilevit_xxs": _timm("mobilevit_xxs"),
    "tinynet_e": _timm("tinynet_e"),
    "dm_nfnet_f0": _timm("dm_nfnet_f0"),
    "deit_tiny_patch16_224": _timm("deit_tiny_patch16_224", 64, img_size=64),
    "xcit_nano_12_p16_224": _timm("xcit_nano_12_p16_224", 64),
    "cait_xxs24_224": _timm("cait_xxs24_224", 64, img_size=64),
    "fastvit_t8": _timm("fastvit_t8"),
    "repvgg_a0": _timm("repvgg_a0"),
    "coat_lite_tiny": _timm("coat_lite_tiny", 64, img_size=64),
}
TRANSFORMERS: dict[str, Builder] = {
    "bert": _transformer("BertModel", "BertConfig", _ids, **_SMALL),
    "distilbert": _transformer(
        "DistilBertModel", "DistilBertConfig", _ids, dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=100, max_position_embeddings=64
    ),
    "gpt2": _transformer("GPT2LMHeadModel", "GPT2Config", _ids, n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=64),
    "llama": _transformer("LlamaForCausalLM", "LlamaConfig", _ids, **_DECODER),
    "qwen2": _transformer("Qwen2Model", "Qwen2Config", _ids, **_DECODER),
    "t5_encoder": _transformer(
        "T5EncoderModel", "T5Config", _ids, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=100
    ),
    "whisper_encoder": _transformer(
        "WhisperModel", "WhisperConfig", lambda: torch.randn(1, 80, 60), encoder=True, d_model=32, encoder_layers=2, decoder_layers=1,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=100,
        max_source_positions=30, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    ),
    "clip_vision": _transformer("CLIPVisionModel", "CLIPVisionConfig", _image(), **_VISION),
    "vit": _transformer("ViTModel", "ViTConfig", _image(), **_VISION),
    "mobilebert": _transformer(
        "MobileBertModel", "MobileBertConfig", _ids, **_SMALL, embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16
    ),
    "electra": _transformer("ElectraModel", "ElectraConfig", _ids, **_SMALL, embedding_size=16),
    "albert": _transformer("AlbertModel", "AlbertConfig", _ids, **_SMALL, embedding_size=16),
    "roberta": _transformer("RobertaForMaskedLM", "RobertaConfig", _ids, **_SMALL),
}  # fmt: skip
OWN: dict[str, Builder] = {
    "lstm": _own(lambda: _Recurrent(nn.LSTM), 7, 2, 8),
    "gru": _own(lambda: _Recurrent(nn.GRU), 7, 2, 8),
    "rnn": _own(lambda: _Recurrent(nn.RNN), 7, 2, 8),
    "bidirectional_lstm": _own(lambda: _Recurrent(nn.LSTM, num_layers=2, bidirectional=True, batch_first=True), 2, 7, 8),
    "upsampler": _own(_Upsampler, 1, 8, 6, 6),
    "multihead_attention": _own(_Attention, 2, 10, 16),
    "einsum": _own(_Einsum, 2, 10, 16),
    "embedding_bag": lambda: (_Bag(), (_ids(6),)),
    "tied": lambda: (_Tied(), (_ids(6),)),
}
MODELS: dict[str, Builder] = {**OWN, **TRANSFORMERS, **TIMM, **TORCHVISION}
