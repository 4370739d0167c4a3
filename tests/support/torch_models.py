"""Small trainings that tests capture: each makes a step, a model and an optimiser."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Made = tuple[Callable[[], object], nn.Module, torch.optim.Optimizer]


def training(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
    **zeroing: bool,
) -> Made:
    chosen = optimizer(model.parameters(), lr=1e-3)

    def step() -> None:
        chosen.zero_grad(**zeroing)
        output = model(inputs)
        functional.cross_entropy(output.reshape(-1, output.shape[-1]), targets.reshape(-1)).backward()
        chosen.step()

    return step, model, chosen


def mlp(optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW, **zeroing: bool) -> Made:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return training(model, torch.randn(32, 64), torch.randint(0, 10, (32,)), optimizer, **zeroing)


def convolutions() -> Made:
    """With batch normalisation and ReLU in place."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )
    return training(model, torch.randn(4, 3, 16, 16), torch.randint(0, 10, (4,)), torch.optim.SGD)


class Attention(nn.Module):
    """A block of a transformer, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, dropout=0.1, batch_first=True)
        self.up, self.down, self.dropout = nn.Linear(32, 64), nn.Linear(64, 32), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.dropout(self.down(functional.gelu(self.up(self.second(x)))))


def attention() -> Made:
    torch.manual_seed(0)
    return training(Attention(), torch.randn(4, 16, 32), torch.randint(0, 32, (4, 16)))


class Tied(nn.Module):
    """An embedding whose weights are those of the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.middle = nn.Embedding(50, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.middle(self.embedding(words))))


def tied() -> Made:
    torch.manual_seed(0)
    return training(Tied(), torch.randint(0, 50, (4, 12)), torch.randint(0, 50, (4, 12)))


class Skip(nn.Module):
    """What the first layer makes is held by Python until the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(32, 64), nn.Linear(64, 64), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        early = torch.sigmoid(self.first(x))
        x = torch.sigmoid(self.middle(early))
        x = torch.sigmoid(self.middle(x))
        return self.last(torch.cat([early, x], 1))


def skip() -> Made:
    torch.manual_seed(0)
    return training(Skip(), torch.randn(16, 32), torch.randint(0, 10, (16,)))


class Odd(nn.Module):
    """Saves what is no plain tensor, parts of blocks, one block twice, and what nobody needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.last = nn.Linear(16, 16), nn.Linear(8, 10)
        self.register_buffer("picks", torch.eye(8).to_sparse())
        self.register_buffer("scale", torch.ones(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.sigmoid(self.linear(x))
        left, right = y.chunk(2, 1)
        z = left.exp() * right + left.sin() * self.scale
        z = torch.fft.fft(torch.sparse.mm(self.picks, z)).abs()
        self.unused = (z * z).detach()
        return self.last(z)


def odd() -> Made:
    torch.manual_seed(0)
    return training(Odd(), torch.randn(8, 16), torch.randint(0, 10, (8,)))


class Autocast(nn.Module):
    """In bfloat16, where autocast makes copies of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.last(torch.relu(self.first(x))).float()


def autocast() -> Made:
    torch.manual_seed(0)
    return training(Autocast(), torch.randn(8, 16), torch.randint(0, 10, (8,)))


class Checkpointed(nn.Module):
    """Its middle runs again in backward."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 10)
        self.middle = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32))
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.sigmoid(checkpoint(self.middle, self.first(x), use_reentrant=self.use_reentrant)))


def checkpointed(use_reentrant: bool) -> Made:
    torch.manual_seed(0)
    return training(Checkpointed(use_reentrant), torch.randn(8, 16), torch.randint(0, 10, (8,)))


MODELS: dict[str, Callable[[], Made]] = {
    "mlp": mlp,
    "mlp, SGD": lambda: mlp(torch.optim.SGD),
    "mlp, gradients kept": lambda: mlp(set_to_none=False),
    "convolutions": convolutions,
    "attention": attention,
    "tied": tied,
    "skip": skip,
}


class Recurrent(nn.Module):
    """The gates of its cells lie in one block and are written in their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.last = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.cells(x)[0])


def recurrent() -> Made:
    torch.manual_seed(0)
    return training(Recurrent(), torch.randn(4, 3, 8), torch.randint(0, 10, (4, 3)))


def accumulating() -> Made:
    """Two backwards, one for each half of the batch; the loss is kept until the next step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))
    optimizer, batch, losses = torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(8, 16), {}

    def step() -> None:
        optimizer.zero_grad()
        for number, half in enumerate(batch.chunk(2)):
            loss = model(half).square().sum()
            loss.backward()
            losses[number] = loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step, model, optimizer


ODD_MODELS: dict[str, Callable[[], Made]] = {
    "odd": odd,
    "autocast": autocast,
    "recurrent": recurrent,
    "accumulating": accumulating,
    "checkpoint": lambda: checkpointed(False),
    "reentrant checkpoint": lambda: checkpointed(True),
}
