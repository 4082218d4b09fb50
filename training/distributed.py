"""Several processes, one device each, started by torch's own launcher: ``torchrun --nproc-per-node N -m training ...``.

Every process holds the whole network, works on its own part of the batch, and averages gradients with the others
after each backward pass. That is data parallelism without a wrapper around the module: gradient penalties with their
second derivatives and recomputed blocks need no special care.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError


@dataclass(frozen=True)
class World:
    """The place of this process among all."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """This process writes files and logs."""
        return self.rank == 0


def choose_device(name: str) -> torch.device:
    """The device of this process; "auto" prefers CUDA.

    Raises:
        InvalidOptionError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidOptionError(f"run.device = {name!r} cannot be used here ({error})") from error
    return device


@contextmanager
def joined(device: torch.device) -> Generator[World, None, None]:
    """Join the other processes that the launcher started, if it did, and leave them in the end."""
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def average_over_processes(tensors: Iterable[Tensor], world: World) -> None:
    """Replace each tensor by its mean over all processes, in one exchange."""
    found = list(tensors)
    if world.size == 1 or not found:
        return
    flat = torch.cat([tensor.detach().flatten().float() for tensor in found])
    dist.all_reduce(flat)
    flat /= world.size
    for tensor, mean in zip(found, torch.split(flat, [tensor.numel() for tensor in found]), strict=True):
        tensor.detach().copy_(mean.reshape(tensor.shape))


def average_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """`average_over_processes` of gradients; a parameter that a process did not use counts as 0 there."""
    if world.size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average_over_processes([parameter.grad for parameter in parameters if parameter.grad is not None], world)
