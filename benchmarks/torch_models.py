"""The same two networks in PyTorch: SqueezeNet v1.0 and ResNet-18 (v1), each with a multi-label head of logits.

SqueezeNet follows ``squeezenet_v1.0-symbol.json`` layer by layer (no padding on the first convolution, poolings that
round up) and ends as mxml ends it: fire9, averaged over the image, one fully connected layer.
ResNet-18 follows the published network: stride 2 in the first 3x3 convolution of a stage, projection shortcuts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and by 3x3, join both."""

    def __init__(self, channels_in: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.squeeze(x))
        return torch.cat([torch.relu_(self.expand1(x)), torch.relu_(self.expand3(x))], 1)


def squeezenet(num_classes: int) -> nn.Module:
    """SqueezeNet v1.0 up to fire9, pooled, with one fully connected layer: (B, 3, H, W) to (B, num_classes) logits."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 96, 7, 2), nn.ReLU(inplace=True), pool()),
        *(Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), pool()),
        *(Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), pool()),
        *(Fire(512, 64, 256), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_classes)),
    )


def load_pretrained(network: nn.Module, path: str) -> None:
    """Give a network the arrays of an ``.npz`` file, layer by layer in the file's order; the head stays as it is."""
    with np.load(path) as file:
        arrays = [torch.from_numpy(file[name]) for name in file.files]
    names = list(network.state_dict())
    network.load_state_dict(dict(zip(names, arrays)), strict=False)
    if len(arrays) != len(names) - 2:
        raise SystemExit(f"{path}: {len(arrays)} arrays for {len(names) - 2} parameters and a head of 2")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, activated after the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)),
            *(nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels
            else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.body(x) + self.shortcut(x))


def resnet18(num_classes: int) -> nn.Module:
    """ResNet-18 with a fully connected layer of ``num_classes``: (B, 3, H, W) to (B, num_classes) logits."""
    blocks: list[nn.Module] = []
    channels_in = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [BasicBlock(channels_in, channels, stride), BasicBlock(channels, channels, 1)]
        channels_in = channels
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        *blocks,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_classes)),
    )


NETWORKS = {"squeezenet": squeezenet, "resnet18": resnet18}
