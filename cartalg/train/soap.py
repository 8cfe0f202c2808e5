"""SOAP: Adam in the eigenbases of the second moments of a gradient's rows and columns, for many small matrices at once.

A potential has dozens of small matrices, of a few shapes. Those of one shape are multiplied together by the `linear`
kernel, and what is done number by number is done to all numbers of the model at once. Source: Vyas et al. 2024
(arXiv:2409.11321), algorithm 3.
"""

import math
from collections.abc import Callable, Iterable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from cartalg.ops.private import add_each, scale_each
from cartalg.train.stacks import Stack


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
        clip: Gradients that together are longer are shortened to this.
        sparing: Steps from one gradient that the second moments of rows and columns see to the next; the paper's is 1.
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
        clip: float = math.inf,
        sparing: int = 2,
    ) -> None:
        settings = {"betas": betas, "frequency": frequency, "eps": eps}
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "steps": 0, **settings})
        if len(self.param_groups) != 1:
            raise ValueError("SOAP has one learning rate for all parameters, not groups of them")
        alike: dict[tuple[tuple[int, ...], bool], list[Parameter]] = {}
        for p in filter(torch.Tensor.numel, self.param_groups[0]["params"]):  # a product may be without couplings
            alike.setdefault((tuple(size for size in p.shape if size > 1), p.ndim > 1), []).append(p)
        self._parameters = [p for of_shape in alike.values() for p in of_shape]
        sizes = [p.numel() for p in self._parameters]
        # of all numbers, in the order of the stacks: gradients, in rotated coordinates, moves
        self._given, self._numbers, self._moves = (self._parameters[0].new_empty(sum(sizes)) for _ in range(3))
        moves = self._moves.split(sizes)
        self._steps = [move.view(p.shape) for move, p in zip(moves, self._parameters, strict=True)]
        self._stacks: list[Stack] = []
        start = 0
        for (shape, rotated), of_shape in alike.items():
            axes = [n for n, size in enumerate(shape, 1) if rotated and size <= largest]
            stop = start + len(of_shape) * math.prod(shape)
            arrays = self._given, self._numbers, self._moves
            own = [numbers[start:stop].view(len(of_shape), *shape) for numbers in arrays]
            self._stacks.append(Stack(axes, *own))
            start = stop

        self._clip, self._sparing, self._kept = clip, sparing, None
        self._moments: list[Callable[[], object]] = []

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that parameters hold."""
        # all that is kept lies under one parameter: most of it is of several
        settings, state = self.param_groups[0], self.state[self.param_groups[0]["params"][0]]
        given = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        torch.cat([g.flatten() for g in given], out=self._given)
        if (length := float(self._given.norm())) > self._clip:
            self._given *= self._clip / length
        first = not state
        if first:
            state["mean"], state["square"] = (torch.zeros_like(self._given) for _ in range(2))
            state["moments"] = [stack.no_moments() for stack in self._stacks]
        self._hold(settings, state)
        if not first:
            settings["steps"] += 1
            self._move(settings, state)
        if settings["steps"] % self._sparing == 0:
            for call in self._moments:
                call()
        if "bases" not in state:
            state["bases"] = [[_eigenvectors(moment) for moment in moments] for moments in state["moments"]]
            self._take(state)
        elif settings["steps"] % settings["frequency"] == 0:
            self._renew(state)

    def _hold(self, settings: dict[str, Any], state: dict[str, Any]) -> None:
        """Bind calls to a state that is new, or that has been read."""
        if self._kept is state["moments"]:
            return
        self._kept, decay = state["moments"], settings["betas"][1] ** self._sparing
        pairs = zip(self._stacks, state["moments"], strict=True)
        self._moments = [call for stack, moments in pairs for call in stack.moments(moments, decay)]
        if "bases" in state:
            self._take(state)

    def _take(self, state: dict[str, Any]) -> None:
        for stack, bases in zip(self._stacks, state["bases"], strict=True):
            stack.take(bases)

    def _move(self, settings: dict[str, Any], state: dict[str, Any]) -> None:
        """Adam's step, taken in rotated coordinates."""
        for stack in self._stacks:
            stack.rotate()
        numbers, (first, second), steps, rate = self._numbers, settings["betas"], settings["steps"], settings["lr"]
        state["mean"].lerp_(numbers, 1 - first)
        state["square"].mul_(second).addcmul_(numbers, numbers, value=1 - second)
        torch.sqrt(state["square"], out=numbers).add_(settings["eps"])
        torch.div(state["mean"], numbers, out=numbers)
        for stack in self._stacks:
            stack.rotate_back()
        length = rate * math.sqrt(1 - second**steps) / (1 - first**steps)
        add_each(self._parameters, self._steps, -length)
        scale_each(self._parameters, 1 - rate * settings["weight_decay"])

    def _renew(self, state: dict[str, Any]) -> None:
        """Rotations nearer to the eigenvectors, by a step of the power method; the means are turned with them."""
        self._numbers.copy_(state["mean"])
        squares = self._parts(state["square"])
        for stack, bases, moments, square in zip(self._stacks, state["bases"], state["moments"], squares, strict=True):
            stack.rotate_back()  # the mean, as a gradient
            for n, (axis, moment) in enumerate(zip(stack.axes, moments, strict=True)):
                product = moment @ bases[n]
                order = (bases[n] * product).sum(1).argsort(1, descending=True)
                bases[n] = torch.linalg.qr(product.gather(2, order[:, None].expand_as(product)))[0]
                places = [-1 if dimension in (0, axis) else 1 for dimension in range(square.ndim)]
                places[0] = len(order)
                square.copy_(square.gather(axis, order.view(places).expand_as(square)))
            stack.take(bases)
            stack.given.copy_(stack.moves)
            stack.rotate()
        state["mean"].copy_(self._numbers)

    def _parts(self, numbers: Tensor) -> list[Tensor]:
        """The part of each stack of an array of all numbers, in its shape."""
        parts = numbers.split([stack.given.numel() for stack in self._stacks])
        return [part.view(stack.given.shape) for part, stack in zip(parts, self._stacks, strict=True)]


def _eigenvectors(moments: Tensor) -> Tensor:
    """Of symmetric matrices, the largest eigenvalue's first."""
    return torch.linalg.eigh(moments)[1].flip(2)
