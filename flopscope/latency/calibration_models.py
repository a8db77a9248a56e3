"""Small networks that a calibration runs: convolutions of all sorts, attention, plain products."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Network:
    """A network with an input.

    Attributes:
        name: of the network and its input.
        family: networks of one family say little about the others.
        make: builds it.
        shape: of its input.
    """

    name: str
    family: str
    make: Callable[[], Any]
    shape: tuple[int, ...]

    def build(self) -> tuple[Any, Any]:
        """The network with random weights, as it is used, and an input."""
        import torch

        import flopscope
        from flopscope.latency.table.real import made_real

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with flopscope.building():
                model = self.make()
        return made_real(model).eval(), torch.rand(self.shape)


def _vision(name: str, family: str, side: int) -> Network:
    def make() -> Any:
        import torchvision

        return getattr(torchvision.models, name)(weights=None)

    return Network(f"{name}@{side}", family, make, (1, 3, side, side))


def _encoder(width: int, layers: int, tokens: int) -> Network:
    def make() -> Any:
        from torch import nn

        layer = nn.TransformerEncoderLayer(width, width // 64, 4 * width, batch_first=True, norm_first=True)
        return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    return Network(f"encoder {width}x{layers} of {tokens} tokens", "encoder", make, (1, tokens, width))


def _perceptron(width: int, rows: int) -> Network:
    def make() -> Any:
        from torch import nn

        return nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))))

    return Network(f"perceptron {width} of {rows} rows", "perceptron", make, (rows, width))


def _decoder(width: int, side: int) -> Network:
    def make() -> Any:
        from torch import nn

        layers: list[nn.Module] = []
        for level in range(3):
            inner = width >> level
            layers += [nn.ConvTranspose2d(inner, inner // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(inner // 2), nn.ReLU(True)]
        return nn.Sequential(*layers, nn.Conv2d(width >> 3, 3, 3, padding=1))

    return Network(f"decoder {width}@{side}", "decoder", make, (1, width, side, side))


NETWORKS: Final = (
    _vision("resnet18", "resnet", 160), _vision("resnet50", "resnet", 128), _vision("resnext50_32x4d", "resnet", 96),
    _vision("alexnet", "plain", 224), _vision("vgg11", "plain", 96), _vision("squeezenet1_1", "squeezenet", 160),
    _vision("googlenet", "inception", 128), _vision("densenet121", "densenet", 96), _vision("mobilenet_v2", "mobilenet", 160),
    _vision("mobilenet_v3_small", "mobilenet", 224), _vision("mnasnet0_5", "mobilenet", 192),
    _vision("shufflenet_v2_x1_0", "shufflenet", 192), _vision("efficientnet_b0", "efficientnet", 128),
    _vision("regnet_y_400mf", "regnet", 160), _vision("convnext_tiny", "convnext", 96), _vision("vit_b_32", "vit", 224),
    _vision("swin_t", "swin", 96), _encoder(256, 4, 64), _encoder(768, 2, 128), _perceptron(256, 64), _perceptron(1024, 64),
    _decoder(128, 16),
)  # fmt: skip
