"""Thirty models that are measured end to end on one machine: convolutional networks and transformers, with random weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE = (1, 3, 224, 224)
TOKENS = 128
_TORCHVISION = {
    "alexnet": "alexnet", "vgg11": "vgg", "squeezenet1_1": "squeezenet", "resnet18": "resnet", "resnet50": "resnet",
    "resnext50_32x4d": "resnet", "densenet121": "densenet", "googlenet": "inception", "mobilenet_v2": "mobilenet",
    "mobilenet_v3_small": "mobilenet", "mobilenet_v3_large": "mobilenet", "mnasnet1_0": "mobilenet", "shufflenet_v2_x1_0": "shufflenet",
    "efficientnet_b0": "efficientnet", "efficientnet_v2_s": "efficientnet", "regnet_y_400mf": "regnet", "regnet_x_800mf": "regnet",
    "convnext_tiny": "convnext", "vit_b_16": "vit", "vit_b_32": "vit", "swin_t": "swin", "swin_v2_t": "swin",
}  # fmt: skip
_TIMM = {"deit_tiny_patch16_224": "vit", "mobilevit_s": "mobilevit", "mixer_s16_224": "mixer"}
_HF = {"bert": "bert", "distilbert": "bert", "electra": "bert", "gpt2": "gpt", "opt": "gpt"}
NAMES = (*_TORCHVISION, *_TIMM, *_HF)
FAMILIES = {**_TORCHVISION, **_TIMM, **_HF}
"""Models of a family are left out together."""


@dataclass(frozen=True)
class Built:
    """A model that can be run, in PyTorch and as a file."""

    model: Any
    args: tuple[Any, ...]
    inputs: dict[str, Any]
    """Of the file, by name."""


def build(name: str) -> Built:
    """A model of the list with an input."""
    import torch

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in _HF:
            ids = torch.randint(1000, (1, TOKENS))
            return Built(_Text(_text(name)).eval(), (ids,), {"x": ids.numpy()})
        if name in _TIMM:
            import timm

            model = timm.create_model(name, pretrained=False)
        else:
            import torchvision

            model = getattr(torchvision.models, name)(weights=None)
    image = torch.randn(IMAGE)
    return Built(model.eval(), (image,), {"x": image.numpy()})


def _text(name: str) -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(name)
    config.use_cache = False
    return transformers.AutoModel.from_config(config, attn_implementation="sdpa")


class _Text:
    def __new__(cls, inner: Any) -> Any:
        import torch

        class Text(torch.nn.Module):
            """The last hidden state of a language model."""

            def __init__(self) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, ids: Any) -> Any:
                return self.inner(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True).last_hidden_state

        return Text()


def exported(name: str, folder: Path) -> Path:
    """The model as an ONNX file, written once."""
    import torch

    path = folder / f"{name}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        built = build(name)
        with warnings.catch_warnings():  # with gradients, or transformers would take a fast path that has no form in ONNX
            warnings.simplefilter("ignore")
            torch.onnx.export(built.model, built.args, str(path), dynamo=False, input_names=["x"], opset_version=17)
    return path
