"""Measuring what feature-space Magic checkpoints do not store: the scale, and whether the assumed alpha is plausible.

A network of scale s that is fed an image reduced by s gives back an image which, reduced by s again, is its input.
At any other scale its details land in the wrong place and that "self-consistency" drops. Experiments behind the
thresholds: real Nano, margin above 3 dB; other networks of the family, see docs/checkpoints.md. Networks with
alpha = 1 that were trained for x3 or x4 come out as the next smaller scale, by 0.65 dB at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dead_leaves import dead_leaves
from .networks.base import SRNetwork
from .networks.magic import MagicResample

AMBIGUOUS_DB = 0.6
"""A lead below this names the wrong neighbour too often to be believed."""
REPEAT_DB = 1.0
"""A lead below this after the small image calls for two larger ones."""
IMPLAUSIBLE_DB = 15.0
"""Below this at every scale the weights do not upscale at all; trained networks of the family are above 20."""
USUAL_SCALES = (2, 4)
"""The guess for weights that say nothing: the scale of the published checkpoint, then the factories' default."""
ALPHA_DB = 3.0
"""Another alpha must be this much better before it is proposed."""
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)

SIDE_UNIT = 24
"""Least common multiple of the scales in use: image sides are multiples of it."""
_MIN_SIDE = 72
_BORDER = 2
_FIRST_COST = 1e10
_SECOND_COST = 4e10
"""Pixels times parameters of one picture in the first and second pass."""
_WORST_DB = -math.inf
_ONE_LEAD_DB = 1.0
_ONE_BEHIND_DB = 2.5
"""Scale 1 must gain this much more than any other, and be at most this much less consistent than the best."""


@dataclass(frozen=True)
class ScaleMeasurement:
    """Result of `measure_scale`."""

    best: int
    """The scale that fits best."""
    margin_db: float
    """Its lead over the runner-up in dB: of self-consistency, or of the gain over plain resampling for scale 1."""
    ambiguous: bool
    """The lead is too small to be believed, some output was not finite, or the weights do not upscale at all."""
    likeliest: tuple[int, ...]
    """The plausible scales, the likeliest first: of two close ones the larger, although `best` names the other as a
    rule. Only `best` where the result is clear, `USUAL_SCALES` where the weights say nothing."""
    consistency_db: dict[int, float]
    """Self-consistency at each candidate in dB; minus infinity where the output was not finite."""


@dataclass(frozen=True)
class _Score:
    """How well one scale fits, in dB, as means over the pictures."""

    consistency: float
    gain: float
    """PSNR against the original picture, less that of the Magic resampler without a network."""


def measure_scale(
    build: Callable[[int], nn.Module], *, candidates: Sequence[int] = (1, 2, 3, 4, 6, 8)
) -> ScaleMeasurement:
    """Find the scale that a network was trained for, where its shapes do not tell.

    One 96x96 picture decides clear cases; a lead below `REPEAT_DB` is measured again on two pictures of 192x192.
    The cost is linear in pixels times parameters, so sides shrink to as little as 72 for large networks. The result
    depends on the weights alone: the pictures are procedural, and torch's global random state is left as it was.

    Args:
        build: gives the network at a scale, with the same weights each time, float32, on the CPU, in eval mode. It
            may return the same module every time: each is used before the next one is asked for.
        candidates: scales to try, divisors of `SIDE_UNIT`; at least two of them above 1.

    Raises:
        ValueError: unusable ``candidates``.
    """
    upscales = [scale for scale in candidates if scale > 1]
    if len(upscales) < 2 or any(scale < 1 or SIDE_UNIT % scale for scale in candidates):
        raise ValueError(f"candidates {tuple(candidates)}: give divisors of {SIDE_UNIT}, at least two of them above 1")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        parameters = sum(parameter.numel() for parameter in build(upscales[0]).parameters())
        side = _side(96, parameters, _FIRST_COST)
        scores = _scores(build, candidates, [dead_leaves(side, 40)])
        found = _decide(scores)
        if found.margin_db < REPEAT_DB and _informative(scores):
            side = _side(192, parameters, _SECOND_COST)
            found = _decide(_scores(build, candidates, [dead_leaves(side, seed) for seed in (41, 42)]))
    return found


def check_alpha(network: SRNetwork) -> float | None:
    """Another alpha than the network's own that fits its weights far better, or None.

    Runs the network on one picture of 96x96 output pixels or less at each of `ALPHAS`. Decisive for networks
    trained with alpha = 1 on features, whose output is noise at any other value; a silent None elsewhere is common.

    Args:
        network: float32, on the CPU, in eval mode. Its alpha is changed while measuring and put back.

    Returns:
        The alpha whose PSNR against the original picture is more than `ALPHA_DB` above that of the present one.
    """
    if network.alpha is None:
        return None
    parameters = sum(parameter.numel() for parameter in network.parameters())
    side = _side(96, parameters, _FIRST_COST) // network.scale * network.scale
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        picture = dead_leaves(_side(96, parameters, _FIRST_COST), 43)[..., :side, :side]
        small = _reduce(picture, side // network.scale)
        quality: dict[float, float] = {}
        for alpha in dict.fromkeys((network.alpha, *ALPHAS)):
            with _alpha_set(network, alpha):
                quality[alpha] = _psnr(_run(network, small), picture, _BORDER * network.scale)
    best = max(quality, key=lambda alpha: quality[alpha])
    return best if quality[best] > quality[network.alpha] + ALPHA_DB else None


@contextmanager
def _alpha_set(network: SRNetwork, alpha: float) -> Generator[None, None, None]:
    resamplers = [module for module in network.modules() if isinstance(module, MagicResample)]
    before = [module.alpha for module in resamplers]
    try:
        for module in resamplers:
            module.alpha = alpha
        yield
    finally:
        for module, value in zip(resamplers, before, strict=True):
            module.alpha = value


def _scores(build: Callable[[int], nn.Module], candidates: Sequence[int], pictures: list[Tensor]) -> dict[int, _Score]:
    scores: dict[int, _Score] = {}
    for scale in candidates:
        network, plain = build(scale), MagicResample(3, scale=scale, alpha=0.0, keys="A")
        found = [_score(network, plain, scale, picture) for picture in pictures]
        scores[scale] = _Score(
            sum(score.consistency for score in found) / len(found), sum(score.gain for score in found) / len(found)
        )
    return scores


def _score(network: nn.Module, plain: nn.Module, scale: int, picture: Tensor) -> _Score:
    small_side = picture.shape[-1] // scale
    small = _reduce(picture, small_side)
    large = _run(network, small)
    border = _BORDER * scale
    return _Score(
        consistency=_psnr(_reduce(large, small_side), small, _BORDER),
        gain=_psnr(large, picture, border) - _psnr(_run(plain, small), picture, border),
    )


def _decide(scores: Mapping[int, _Score]) -> ScaleMeasurement:
    consistency = {scale: score.consistency for scale, score in scores.items()}
    best, second = sorted((scale for scale in scores if scale > 1), key=lambda scale: -consistency[scale])[:2]
    if not _informative(scores):
        usual = tuple(scale for scale in USUAL_SCALES if scale in scores) or (best,)
        return ScaleMeasurement(usual[0], 0.0, True, usual, consistency)
    one = scores.get(1)
    if one is not None and one.consistency >= consistency[best] - _ONE_BEHIND_DB:
        lead = one.gain - max(score.gain for scale, score in scores.items() if scale > 1)
        if lead > _ONE_LEAD_DB:
            return ScaleMeasurement(1, lead, False, (1,), consistency)
    margin = consistency[best] - consistency[second]
    if margin >= AMBIGUOUS_DB:
        return ScaleMeasurement(best, margin, False, (best,), consistency)
    # narrow decisions err towards the smaller scale
    return ScaleMeasurement(best, margin, True, tuple(sorted((best, second), reverse=True)), consistency)


def _informative(scores: Mapping[int, _Score]) -> bool:
    """All outputs were finite, and at some scale the network reproduces its input."""
    finite = all(math.isfinite(score.consistency) and math.isfinite(score.gain) for score in scores.values())
    return finite and max(score.consistency for score in scores.values()) >= IMPLAUSIBLE_DB


def _run(network: nn.Module, x: Tensor) -> Tensor:
    """The network's output, limited to 0..1."""
    image: Tensor = network(x)
    return image.clamp(0, 1)


def _reduce(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)


def _psnr(a: Tensor, b: Tensor, border: int) -> float:
    """PSNR in dB of values in 0..1 inside the border, at most 100; NaN and Inf count as `_WORST_DB`."""
    inside = (..., slice(border, -border), slice(border, -border))
    error = (a[inside] - b[inside]).square().mean().item()
    return -10 * math.log10(max(error, 1e-10)) if math.isfinite(error) else _WORST_DB


def _side(largest: int, parameters: int, cost: float) -> int:
    """Side of the pictures: a multiple of `SIDE_UNIT` for which pixels times parameters stay within ``cost``."""
    affordable = int(math.sqrt(cost / max(1, parameters)))
    return max(_MIN_SIDE, min(largest, affordable) // SIDE_UNIT * SIDE_UNIT)
