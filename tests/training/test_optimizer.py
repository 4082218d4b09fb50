"""Adam and Muon side by side: who takes what, and how far a step goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from paragon_arch.errors import InvalidOptionError
from training.optimizer import Optimizers, is_matrix


class Network(nn.Module):
    """A weight of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.full = nn.Conv2d(16, 24, 3)
        self.point = nn.Conv2d(24, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, groups=32)
        self.thin = nn.Conv2d(32, 12, 3)
        self.huge = nn.Conv2d(32, 256, 3)
        self.linear = nn.Linear(20, 40)
        self.gamma = nn.Parameter(torch.ones(1, 32, 1, 1))
        self.scale = nn.Parameter(torch.ones(32, 1, 1))


def made(*, muon: float) -> tuple[Network, Optimizers]:
    torch.manual_seed(0)
    network = Network().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return network, Optimizers(dict(network.named_parameters()), lr=1e-3, betas=(0.9, 0.99), muon=muon)


def test_muon_takes_full_convolutions_and_linear_layers() -> None:
    network = Network()
    taken = {name for name, parameter in network.named_parameters() if is_matrix(parameter)}
    assert taken == {"full.weight", "point.weight", "linear.weight"}


def test_a_step_of_muon_is_nearly_orthogonal_and_adam_does_the_rest() -> None:
    network, optimizers = made(muon=0.02)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizers.step(0.5)
    for name, parameter in network.named_parameters():
        change = (parameter.detach() - before[name]).flatten(1 if parameter.dim() > 1 else 0)
        if name in optimizers.matrices:
            rows, columns = change.shape
            stretch = np.linalg.svd(change.numpy(), compute_uv=False)
            unit = 0.02 * 0.5 * max(1, rows / columns) ** 0.5
            assert 0.5 * unit < stretch.min() < stretch.max() < 1.5 * unit, (
                name
            )  # torch's five iterations are this exact
        else:  # Adam's first step has the size of the rate
            assert change.abs().max().item() == pytest.approx(1e-3 * 0.5, rel=1e-3), name


def test_without_muon_all_is_adams() -> None:
    network, optimizers = made(muon=0)
    optimizers.step(1.0)
    assert optimizers.matrices == {}
    assert {name.split(".", 2)[2] for name, _ in optimizers.moments()} == dict(network.named_parameters()).keys()


def test_a_torch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InvalidOptionError, match=r"optim\.muon needs torch 2\.9"):
        made(muon=0.02)
