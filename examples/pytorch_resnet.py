"""ResNet-50 to capture: fp32, or bf16 autocast with channels last.

vdnnsim capture examples/pytorch_resnet.py:make --vary precision=fp32,bf16 --out resnet50
vdnnsim capture examples/pytorch_resnet.py:make --vary batch=32,64,128 --out resnet50_batches
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        return self.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


def resnet(blocks: tuple[int, ...], width: int, classes: int) -> nn.Sequential:
    stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage, number in enumerate(blocks):
        for block in range(number):
            layers.append(Bottleneck(channels, width << stage, 2 if stage and not block else 1))
            channels = 4 * (width << stage)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def make(batch=128, device=DEVICE, precision="fp32", tiny=False):
    torch.manual_seed(0)
    side, classes = (32, 10) if tiny else (224, 1000)
    model = (resnet((1, 1), 8, classes) if tiny else resnet((3, 4, 6, 3), 64, classes)).to(device)
    images = torch.randn(batch, 3, side, side, device=device)
    if precision == "bf16":
        model, images = (one.to(memory_format=torch.channels_last) for one in (model, images))
    labels = torch.randint(classes, (batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return step, model, optimizer


make_bf16 = partial(make, precision="bf16")
make_tiny = partial(make, batch=4, tiny=True)
