"""A GPT to capture: 124M or 350M parameters, bf16 autocast, dropout, AdamW.

vdnnsim capture examples/pytorch_gpt.py:make --vary size=124M,350M --out gpt
vdnnsim capture examples/pytorch_gpt.py:make --vary tokens=256,512,1024 --out gpt_by_length
vdnnsim capture examples/pytorch_gpt.py:make_tiny --device cpu --out gpt_tiny
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = {"124M": (12, 768, 12, 1024, 50304), "350M": (24, 1024, 16, 1024, 50304), "tiny": (3, 64, 4, 64, 256)}
"""Layers, width, heads, tokens, vocabulary."""
DROPOUT = 0.1


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=DROPOUT if self.training else 0.0
        )
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.down(functional.gelu(self.up(self.norm2(x)))))


class Gpt(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, tokens: int, vocabulary: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.drop = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.words.weight
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.words(tokens) + self.places.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def make(batch=16, device=DEVICE, size="124M", tokens=None):
    layers, width, heads, longest, vocabulary = SIZES[size]
    tokens = tokens or longest
    torch.manual_seed(0)
    model = Gpt(layers, width, heads, longest, vocabulary).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=model.words.weight.is_cuda)
    text = torch.randint(vocabulary, (batch, tokens + 1), device=device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = model(text[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        optimizer.step()

    return step, model, optimizer


make_350M = partial(make, batch=8, size="350M")  # noqa: N816
make_tiny = partial(make, batch=2, size="tiny")
