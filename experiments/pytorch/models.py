"""Models for the measuring list that are no examples: ViT-B/16, a U-Net, and a stack of Llama-style blocks."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from vdnnsim.pytorch.reporting import Script

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def training(model, inputs, targets, loss_of, autocast=True):
    """The usual step of a model, with AdamW; bf16 by autocast if wanted."""
    on = inputs.device.type
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=on == "cuda")

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(on, torch.bfloat16, enabled=autocast):
            loss = loss_of(model(inputs), targets)
        loss.backward()
        optimizer.step()

    return step, model, optimizer


# A vision transformer: projections of attention are called as functions


class EncoderBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, side: int, patch: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def make_vit(batch=64, device=DEVICE, tiny=False):
    torch.manual_seed(0)
    layers, width, heads, side, patch, classes = (2, 32, 4, 32, 8, 10) if tiny else (12, 768, 12, 224, 16, 1000)
    model = Vit(layers, width, heads, side, patch, classes).to(device)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(classes, (batch,))
    return training(model, images.to(device), labels.to(device), functional.cross_entropy)


# A U-Net: maps that are held until they are concatenated, and overwritten in place


def two_convs(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (channels, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Unet(nn.Module):
    def __init__(self, width: int, depth: int, classes: int) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            two_convs(inputs, outputs) for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, 2) for one in reversed(widths[:-1]))
        self.merge = nn.ModuleList(two_convs(2 * one, one) for one in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, convs in enumerate(self.down):
            x = convs(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.ups, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)


def make_unet(batch=32, device=DEVICE, tiny=False):
    torch.manual_seed(0)
    width, depth, side, classes = (4, 2, 32, 2) if tiny else (64, 4, 256, 2)
    model = Unet(width, depth, classes).to(device)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(classes, (batch, side, side))
    return training(model, images.to(device), labels.to(device), functional.cross_entropy)


# A stack of Llama-style blocks, all in bf16: RMSNorm, rotary embeddings, grouped attention, SwiGLU


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, width: int, heads: int, groups: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * groups * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        y = self.norm1(x)
        q = self.q(y).view(batch, tokens, self.heads, self.size).transpose(1, 2)
        k, v = self.kv(y).view(batch, tokens, 2, self.groups, self.size).permute(2, 0, 3, 1, 4)
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        k, v = (one.repeat_interleave(self.heads // self.groups, dim=1) for one in (k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, groups: int, hidden: int, tokens: int, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, groups, hidden) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, words, bias=False)
        half = width // heads // 2
        angles = torch.arange(tokens)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.words(text)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def next_words(logits: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), text[:, 1:].flatten())


def make_llama(batch=4, device=DEVICE, tokens=2048, tiny=False):
    torch.manual_seed(0)
    shape = (2, 64, 4, 2, 96) if tiny else (8, 2048, 32, 8, 5632)
    words, tokens = (128, 32) if tiny else (32000, tokens)
    model = Llama(*shape, tokens, words).to(device, torch.bfloat16)
    text = torch.randint(words, (batch, tokens), device=device)
    return training(model, text, text, next_words, autocast=False)


# A GPT whose gradients are the same twice

GPT = Path(__file__).parents[2] / "examples" / "pytorch_gpt.py"


def make_deterministic_gpt(batch=4, device=DEVICE, size="124M"):
    torch.use_deterministic_algorithms(True)
    return tuple(Script(f"{GPT}:make").make({"batch": batch, "size": size}, device))


make_small_unet = partial(make_unet, batch=256, tiny=True)
make_tiny_vit = partial(make_vit, batch=2, tiny=True)
make_tiny_unet = partial(make_unet, batch=2, tiny=True)
make_tiny_llama = partial(make_llama, batch=2, tiny=True)
