"""The scale probe and the alpha check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from paragon_arch.building import build
from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.layouts import State, identify
from paragon_arch.networks.base import SRNetwork, records_hyperparameters
from paragon_arch.networks.magic import MagicResample
from paragon_arch.probe import check_alpha, measure_scale

REAL = "2xParagonSR2_Nano_Pretrain.safetensors"


class TrainedFor(nn.Module):
    """An ideal network of one scale that, like the family's, runs at any: it undoes the losses of its own scale.

    Iterative back-projection at the scale it was "trained" for, then resampling at the scale it is run at.
    """

    def __init__(self, trained: int, scale: int) -> None:
        super().__init__()
        self.own = MagicResample(3, scale=trained, alpha=0.0, keys="A")
        self.final = MagicResample(3, scale=scale, alpha=0.0, keys="A")

    def forward(self, x: Tensor) -> Tensor:
        z = x
        for _ in range(10):
            back = F.interpolate(self.own(z), size=x.shape[2:], mode="bicubic", antialias=True)
            z = z + x - back
        return self.final(z)


def trained_for(trained: int) -> Callable[[int], nn.Module]:
    return lambda scale: TrainedFor(trained, scale).eval()


def real_nano(shared: Path, *, alpha: float = 1.0) -> Callable[[int], SRNetwork]:
    state = load_file(shared / "checkpoints" / REAL)
    layout = identify(state)
    assert layout is not None
    hyper = layout.read(State(state))
    return lambda scale: build(layout, {**hyper, "scale": scale, "alpha": alpha}, state, REAL)


@pytest.mark.parametrize("trained", [1, 2, 3, 4, 6, 8])
def test_an_ideal_network_gives_its_scale_away(trained: int) -> None:
    found = measure_scale(trained_for(trained))
    assert (found.best, found.ambiguous, found.likeliest) == (trained, False, (trained,))
    assert found.margin_db > 1


def test_the_published_nano_is_x2_by_far(shared: Path) -> None:
    found = measure_scale(real_nano(shared))
    assert (found.best, found.ambiguous) == (2, False)
    assert found.margin_db == pytest.approx(3.6, abs=0.6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("broken_at", [(2,), (1, 2, 3, 4, 6, 8)])
def test_outputs_that_are_not_numbers_are_ambiguous(value: float, broken_at: tuple[int, ...]) -> None:
    class Broken(TrainedFor):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return out + (value - value) if self.final.scale in broken_at else out

    found = measure_scale(lambda scale: Broken(2, scale))
    assert found.ambiguous
    assert found.likeliest == (2, 4)


def test_weights_that_do_not_upscale_are_ambiguous() -> None:
    class Grey(TrainedFor):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(super().forward(x))

    found = measure_scale(lambda scale: Grey(2, scale))
    assert found.ambiguous
    assert found.likeliest == (2, 4)
    assert max(found.consistency_db.values()) < 15


def test_a_network_between_two_scales_is_ambiguous_and_the_larger_likelier() -> None:
    class Hesitant(TrainedFor):
        """Equally good at 3 and 4, as the networks are for which the probe is known to fail."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (0.9 if self.final.scale in (3, 4) else 0.7)

    found = measure_scale(lambda scale: Hesitant(scale, scale))
    assert found.ambiguous
    assert found.likeliest == (4, 3)


def test_measuring_is_deterministic_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = measure_scale(trained_for(4))
    assert torch.equal(torch.rand(3), expected)
    assert measure_scale(trained_for(4)) == first


def test_large_networks_see_smaller_pictures() -> None:
    sides: list[int] = []

    class Heavy(TrainedFor):
        def __init__(self, scale: int) -> None:
            super().__init__(2, scale)
            with torch.device("meta"):
                self.ballast = nn.Parameter(torch.empty(40_000_000))

        def forward(self, x: Tensor) -> Tensor:
            sides.append(x.shape[-1] * self.final.scale)
            return super().forward(x)

    assert measure_scale(Heavy).best == 2
    assert set(sides) == {72}


@pytest.mark.parametrize("candidates", [(1, 2), (2, 5), (0, 2, 4), ()])
def test_unusable_candidates(candidates: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        measure_scale(trained_for(2), candidates=candidates)


class Alternating(SRNetwork):
    """Hides energy at the Nyquist frequency, which only a full pre-filter removes, as networks with alpha = 1 do."""

    @records_hyperparameters
    def __init__(self, *, scale: int, alpha: float | None, amplitude: float = 4.0) -> None:
        super().__init__()
        self.scale, self.alpha, self.amplitude = scale, alpha, amplitude
        self.resample = MagicResample(3, scale=scale, alpha=alpha or 0.0, keys="A")

    def forward(self, x: Tensor) -> Tensor:
        signs = torch.ones_like(x)
        signs[..., 1::2] = -1
        return self.resample(x + self.amplitude * signs)


@pytest.mark.parametrize("scale", [2, 3, 4, 8, 16])
def test_a_wrong_alpha_is_noticed(scale: int) -> None:
    network = Alternating(scale=scale, alpha=0.5)
    assert check_alpha(network) == 1.0
    assert network.resample.alpha == 0.5
    assert check_alpha(Alternating(scale=scale, alpha=1.0)) is None


def test_nothing_to_propose() -> None:
    assert check_alpha(Alternating(scale=2, alpha=None)) is None
    assert check_alpha(Alternating(scale=2, alpha=0.5, amplitude=0.0)) is None
    assert check_alpha(Alternating(scale=2, alpha=0.5, amplitude=float("nan"))) is None


def test_alpha_of_the_published_nano(shared: Path) -> None:
    assert check_alpha(real_nano(shared)(2)) is None
    for alpha in (0.0, 0.5, 0.75):
        assert check_alpha(real_nano(shared, alpha=alpha)(2)) == 1.0


def test_dead_leaves_are_reproducible_pictures() -> None:
    picture = dead_leaves(96, 1).clone()
    dead_leaves.cache_clear()
    assert torch.equal(dead_leaves(96, 1), picture)
    assert not torch.equal(dead_leaves(96, 2), picture)
    assert picture.shape == (1, 3, 96, 96)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert picture.std() > 0.15
    # as in photographs, neighbours are mostly alike: an edge is rarer than a flat spot
    steps = (picture[..., 1:] - picture[..., :-1]).abs().mean(dim=1)
    assert steps.median() < 0.02
    assert steps.quantile(0.95) > 0.1
