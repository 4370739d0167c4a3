"""Small models that do what is hard for hooks, and a training step of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class Tricky(nn.Module):
    """Views of one block, tied weights, dropout, in-place ReLU, a skip that Python holds, a tensor saved twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.blocks = nn.ModuleList(_Attention() for _ in range(3))
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.skip: torch.Tensor | None = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        self.skip = x
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(x * x + self.skip)
        return logits


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.project = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.project(self.norm(x)).chunk(3, -1)
        mixed = torch.softmax(query @ key.transpose(-1, -2), -1) @ value
        out: torch.Tensor = x + self.dropout(self.relu(self.out(mixed)))
        return out


class Convolutions(nn.Module):
    """Convolutions with batch norm and in-place ReLU, a fork and a join, max-pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.first(images)
        x = self.pool(torch.cat((x, self.second(x)), 1))
        logits: torch.Tensor = self.head(x.flatten(1))
        return logits


class Recurrent(nn.Module):
    """Gates that are parts of one block without one count of versions: each is worked out in place, and saved, when
    others of them have been saved already."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.gru = nn.GRU(8, 8, num_layers=2, batch_first=True)
        self.lstm = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 20)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.lstm(self.gru(self.embedding(tokens))[0])[0])
        return logits


Step = Callable[[], torch.Tensor]


def tricky_step(model: nn.Module, batch: int = 4) -> Step:
    tokens, targets = torch.randint(0, 20, (batch, 8)), torch.randint(0, 20, (batch, 8))
    return lambda: _train(model, tokens, targets)


def images_step(model: nn.Module, batch: int = 4) -> Step:
    images, targets = torch.randn(batch, 3, 8, 8), torch.randint(0, 10, (batch,))
    return lambda: _train(model, images, targets)


def _train(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
    loss.backward()
    return loss.detach()


def gradients(model: nn.Module, step: Step, seed: int = 3) -> list[torch.Tensor]:
    """Of one step, from this random state on."""
    torch.manual_seed(seed)
    step()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def equal(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    """To the bit."""
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Step]]] = {
    "tricky": (Tricky, tricky_step),
    "convolutions": (Convolutions, images_step),
    "recurrent": (Recurrent, tricky_step),
}


def made(name: str, batch: int = 4) -> tuple[nn.Module, Step]:
    """A model of `MODELS` and its step, the same every time."""
    torch.manual_seed(0)
    model, step = MODELS[name]
    built = model()
    return built, step(built, batch)
