"""The optimisers of a network: Adam, and on request Muon for its matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError

SMALLEST_MATRIX = 16
"""Muon takes weights with at least so many outputs, and so many inputs for each of them."""
LARGEST_MATRIX = 2**16
"""And no more values than this: torch orthogonalises in bfloat16, which takes a CPU as long as a step for 512 x 288."""
ADAM, MUON = "adam", "muon"
MOMENTS = {ADAM: ("exp_avg", "exp_avg_sq", "step"), MUON: ("momentum_buffer",)}
"""What each keeps for a parameter."""


class Optimizers:
    """Adam for all parameters, or for those that Muon does not take.

    Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") steps along the nearest
    orthogonal matrix of the averaged gradient. Here it takes the weights of ungrouped convolutions and linear layers,
    a row for each output.

    Args:
        parameters: by name.
        lr, betas: of Adam.
        muon: Muon's rate; 0 leaves all to Adam.
        fused: one operation for all of Adam, which can also skip a step on the device.

    Raises:
        InvalidOptionError: this torch has no Muon.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        muon: float = 0.0,
        fused: bool = False,
    ) -> None:
        self.parameters, self.rates = dict(parameters), {ADAM: lr, MUON: muon}
        # copies, because a weight in channels-last order is no view of a matrix; `step` carries values over
        self.matrices = {
            name: nn.Parameter(parameter.detach().flatten(1).clone())
            for name, parameter in self.parameters.items()
            if muon > 0 and is_matrix(parameter)
        }
        others = [parameter for name, parameter in self.parameters.items() if name not in self.matrices]
        self.adam = torch.optim.Adam(others, lr=lr, betas=betas, fused=fused)
        self.muon = make_muon(list(self.matrices.values())) if self.matrices else None

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, *, skip: Tensor | None = None) -> None:
        """Take a step at a share of the rates.

        Args:
            rate: 0..1.
            skip: a bool on the device: leave everything as it is. Needs a fused Adam.
        """
        _set_rate(self.adam, self.rates[ADAM] * rate)
        if skip is not None:
            self.adam.found_inf = skip.float()  # pyright: ignore[reportAttributeAccessIssue]
        self.adam.step()
        if self.muon is None:
            return
        for name, matrix in self.matrices.items():
            parameter = self.parameters[name]
            matrix.copy_(parameter.flatten(1))
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        _set_rate(self.muon, self.rates[MUON] * rate)
        kept = None if skip is None else self._muon_values(self.muon)
        self.muon.step()
        if skip is not None and kept is not None:
            for matrix, (value, momentum) in zip(self.matrices.values(), kept, strict=True):
                matrix.copy_(torch.where(skip, value, matrix))
                buffer = self.muon.state[matrix]["momentum_buffer"]
                buffer.copy_(torch.where(skip, torch.zeros_like(buffer) if momentum is None else momentum, buffer))
        for name, matrix in self.matrices.items():
            self.parameters[name].copy_(matrix.view_as(self.parameters[name]))

    def _muon_values(self, muon: torch.optim.Optimizer) -> list[tuple[Tensor, Tensor | None]]:
        """Copies of Muon's matrices and momenta; there is no momentum before the first step."""
        momenta = [muon.state.get(matrix, {}).get("momentum_buffer") for matrix in self.matrices.values()]
        return [
            (matrix.clone(), None if momentum is None else momentum.clone())
            for matrix, momentum in zip(self.matrices.values(), momenta, strict=True)
        ]

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """What the optimisers remember of each parameter, with names as ``adam.exp_avg.conv.weight``."""
        for kind, optimizer, name, parameter in self._parts():
            state = optimizer.state.get(parameter, {})
            yield from ((f"{kind}.{key}.{name}", state[key]) for key in MOMENTS[kind] if key in state)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `moments` gave; a parameter without any starts afresh."""
        for kind, optimizer, name, parameter in self._parts():
            found = {key: tensors.get(f"{kind}.{key}.{name}") for key in MOMENTS[kind]}
            values = {key: _like(parameter, value) for key, value in found.items() if value is not None}
            if values:
                optimizer.state[parameter] = values

    def _parts(self) -> Iterator[tuple[str, torch.optim.Optimizer, str, nn.Parameter]]:
        for name, parameter in self.parameters.items():
            if self.muon is not None and name in self.matrices:
                yield MUON, self.muon, name, self.matrices[name]
            else:
                yield ADAM, self.adam, name, parameter


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon takes it: the weight of an ungrouped convolution or a linear layer, neither thin nor huge."""
    if parameter.dim() not in (2, 4) or parameter.shape[1] == 1:
        return False
    fits = parameter.numel() <= LARGEST_MATRIX
    return fits and min(parameter.shape[0], parameter[0].numel()) >= SMALLEST_MATRIX


def make_muon(matrices: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The Muon of torch, without weight decay.

    Raises:
        InvalidOptionError: this torch has none.
    """
    kind = getattr(torch.optim, "Muon", None)
    if kind is None:
        raise InvalidOptionError(
            f"optim.muon needs torch 2.9 or newer; this is {torch.__version__}. Install a newer one, or set it to 0"
        )
    return kind(matrices, weight_decay=0.0)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """In the parameter's memory order, on which the order of sums depends; counters as they are."""
    return value.clone() if value.dim() == 0 else torch.empty_like(parameter).copy_(value)
