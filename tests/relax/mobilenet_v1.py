"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861, table 1), which torchvision does not have."""

from __future__ import annotations

from torch import Tensor, nn

_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1))


def _layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class MobileNetV1(nn.Module):
    """Depthwise separable convolutions, all widths times a multiplier."""

    def __init__(self, multiplier: float = 1.0) -> None:
        super().__init__()
        channels = int(32 * multiplier)
        layers = [_layer(3, channels, 3, 2)]
        for width, stride in _BLOCKS:
            outputs = int(width * multiplier)
            layers += [_layer(channels, channels, 3, stride, channels), _layer(channels, outputs, 1, 1)]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
