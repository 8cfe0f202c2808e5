"""SOAP: Adam in the eigenbases of the second moments of a gradient's rows and columns, for many small matrices at once.

A potential has dozens of small matrices, of a few shapes. Those of one shape are multiplied together, in batches, and
what is done number by number is done to all numbers of the model at once. Source: Vyas et al. 2024 (arXiv:2409.11321),
algorithm 3.
"""

import math
from collections.abc import Iterable, Sequence
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from cartalg.ops.private import add_each, scale_each


class SOAP(Optimizer):
    """Adam in rotated coordinates; the rotations follow from the gradients and are renewed every few steps.

    Vectors, and axes longer than `largest`, are not rotated. The first step finds the rotations and moves nothing. A
    parameter without a gradient counts as one whose gradient is zero.

    Args:
        parameters: All of one precision.
        lr: Learning rate.
        weight_decay: Decoupled from the gradient, in units of the learning rate.
        betas: Decay of the means of gradients and of their squares; the latter also that of the second moments of rows
            and columns.
        frequency: Steps from one renewal of the rotations to the next.
        largest: Length of the longest axis that is rotated.
        eps: Added to the root of the mean square.
    Raises:
        ValueError: If parameters come in groups.
    """

    # Torch's own, past the decorator that imports its compiler: a second at every start
    add_param_group, zero_grad = unwrap(Optimizer.add_param_group), unwrap(Optimizer.zero_grad)
    state_dict, load_state_dict = unwrap(Optimizer.state_dict), unwrap(Optimizer.load_state_dict)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.95, 0.95),
        frequency: int = 10,
        largest: int = 1024,
        eps: float = 1e-8,
    ) -> None:
        settings = {"betas": betas, "frequency": frequency, "eps": eps}
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "steps": 0, **settings})
        if len(self.param_groups) != 1:
            raise ValueError("SOAP has one learning rate for all parameters, not groups of them")
        alike: dict[tuple[tuple[int, ...], bool], list[Parameter]] = {}
        for p in filter(torch.Tensor.numel, self.param_groups[0]["params"]):  # a product may be without couplings
            alike.setdefault((tuple(size for size in p.shape if size > 1), p.ndim > 1), []).append(p)
        self._stacks = [
            _Stack(of_shape, shape, [n for n, size in enumerate(shape, 1) if rotated and size <= largest])
            for (shape, rotated), of_shape in alike.items()
        ]
        self._numbers: Tensor | None = None
        self._split: list[Tensor] = []

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that parameters hold."""
        # all that is kept lies under one parameter: most of it is of several
        settings, state = self.param_groups[0], self.state[self.param_groups[0]["params"][0]]
        gradients = [stack.gradients() for stack in self._stacks]
        if state:
            settings["steps"] += 1
            self._move(settings, state, gradients)
        else:
            state["mean"] = gradients[0].new_zeros(sum(g.numel() for g in gradients))
            state["square"] = torch.zeros_like(state["mean"])
            state["moments"] = [
                [g.new_zeros(len(g), g.shape[axis], g.shape[axis]) for axis in stack.axes]
                for stack, g in zip(self._stacks, gradients, strict=True)
            ]
        for stack, gradient, moments in zip(self._stacks, gradients, state["moments"], strict=True):
            stack.add_moments(gradient, moments, settings["betas"][1])
        if "bases" not in state:
            state["bases"] = [[_eigenvectors(moment) for moment in moments] for moments in state["moments"]]
        elif settings["steps"] % settings["frequency"] == 0:
            self._renew(state)

    def _move(self, settings: dict[str, Any], state: dict[str, Any], gradients: Sequence[Tensor]) -> None:
        """Adam's step, taken in rotated coordinates."""
        if self._numbers is None:
            self._numbers = torch.empty_like(state["mean"])
            self._split = self._parts(self._numbers)
        numbers, parts = self._numbers, list(zip(self._stacks, self._split, state["bases"], strict=True))
        for (stack, part, bases), gradient in zip(parts, gradients, strict=True):
            stack.rotated(gradient, bases, out=part)
        (first, second), steps, rate = settings["betas"], settings["steps"], settings["lr"]
        state["mean"].lerp_(numbers, 1 - first)
        state["square"].mul_(second).addcmul_(numbers, numbers, value=1 - second)
        torch.sqrt(state["square"], out=numbers).add_(settings["eps"])
        torch.div(state["mean"], numbers, out=numbers)
        length = rate * math.sqrt(1 - second**steps) / (1 - first**steps)
        for stack, part, bases in parts:
            stack.add(stack.rotated(part, bases, back=True), -length)
        scale_each(settings["params"], 1 - rate * settings["weight_decay"])

    def _renew(self, state: dict[str, Any]) -> None:
        """Rotations nearer to the eigenvectors, by a step of the power method; the means are turned with them."""
        parts = zip(self._stacks, state["bases"], self._parts(state["mean"]), self._parts(state["square"]), strict=True)
        for (stack, bases, mean, square), moments in zip(parts, state["moments"], strict=True):
            unrotated = stack.rotated(mean, bases, back=True)
            for n, (axis, moment) in enumerate(zip(stack.axes, moments, strict=True)):
                product = moment @ bases[n]
                order = (bases[n] * product).sum(1).argsort(1, descending=True)
                bases[n] = torch.linalg.qr(product.take_along_dim(order[:, None], 2))[0]
                places = [-1 if dimension in (0, axis) else 1 for dimension in range(square.ndim)]
                places[0] = len(order)
                square.copy_(square.take_along_dim(order.view(places), axis))
            mean.copy_(stack.rotated(unrotated, bases))

    def _parts(self, numbers: Tensor) -> list[Tensor]:
        """The part of each stack of an array of all numbers, in its shape."""
        shapes = [(len(stack.parameters), *stack.shape) for stack in self._stacks]
        parts = numbers.split([math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


class _Stack:
    """Parameters of one shape, axes of length one aside, as an array [parameters, ..] of which some axes are rotated.

    Args:
        parameters, shape: These.
        axes: Those of the array that are rotated.
    """

    def __init__(self, parameters: Sequence[Parameter], shape: tuple[int, ...], axes: list[int]) -> None:
        self.parameters, self.shape, self.axes = parameters, shape, axes
        # an axis after the other becomes the last: (as three axes, number of the basis, what comes of it)
        self._turns: list[tuple[tuple[int, ...], int | None, tuple[int, ...]]] = []
        count, rest = len(parameters), shape
        for axis in range(1, len(shape) + 1) if axes else ():
            turned = (count, *rest[1:], rest[0])
            number = axes.index(axis) if axis in axes else None
            self._turns.append(((count, rest[0], math.prod(rest[1:])), number, turned))
            rest = turned[1:]

    def gradients(self) -> Tensor:
        """The array of gradients."""
        given = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return torch.stack([g.reshape(self.shape) for g in given])

    def add_moments(self, gradients: Tensor, moments: Sequence[Tensor], decay: float) -> None:
        """Let the second moments of each axis that is rotated go on."""
        for axis, moment in zip(self.axes, moments, strict=True):
            count, size, _ = moment.shape
            if axis == gradients.ndim - 1:
                columns = gradients.view(count, -1, size)
                moment.baddbmm_(columns.mT, columns, beta=decay, alpha=1 - decay)
            else:
                rows = gradients.movedim(axis, 1).reshape(count, size, -1)
                moment.baddbmm_(rows, rows.mT, beta=decay, alpha=1 - decay)

    def rotated(self, array: Tensor, bases: Sequence[Tensor], back: bool = False, out: Tensor | None = None) -> Tensor:
        """The array in the coordinates of bases, one for each axis that is rotated; or back from there."""
        for as_three, number, shape in self._turns:
            turned = array.view(as_three).mT
            if number is not None:
                turned = torch.bmm(turned, bases[number].mT if back else bases[number])
            array = turned.reshape(shape)
        return array if out is None else out.copy_(array)

    def add(self, array: Tensor, factor: float) -> None:
        """Add so many times an array to the parameters."""
        moves = [move.view(p.shape) for move, p in zip(array.unbind(), self.parameters, strict=True)]
        add_each(self.parameters, moves, factor)


def _eigenvectors(moments: Tensor) -> Tensor:
    """Of symmetric matrices, the largest eigenvalue's first."""
    return torch.linalg.eigh(moments)[1].flip(2)
