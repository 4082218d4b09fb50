"""Learning rates."""

from __future__ import annotations

import math

from .config import OptimConfig


def learning_rate(config: OptimConfig, step: int) -> float:
    """Rate of a step counted from 0: linear warm-up, then the schedule."""
    return config.lr * relative_rate(config, step)


def relative_rate(config: OptimConfig, step: int) -> float:
    """The same as a share of the peak rate, for a critic that follows the generator's schedule."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "multistep":
        return config.decay ** sum(step >= milestone for milestone in config.milestones)
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    floor = config.final_lr / config.lr
    if config.schedule == "linear":
        return 1 - (1 - floor) * progress
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
