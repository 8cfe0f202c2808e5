"""Several processes that train one model: each takes its share of every batch, gradients are summed.

Started by `torchrun --nproc-per-node 2 -m cartalg train ..`, or any launcher that sets RANK and WORLD_SIZE. The first
process takes the optimiser's step, all take its weights, so that they never drift apart; it writes the files.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, and this one among them: `torch.distributed` without a special case for one process."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> "ProcessGroup":
        """The group that the launcher's environment describes; gloo on CPUs. One process if there is no launcher."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def shard(self, numbers: list[int]) -> list[int]:
        """This process's part of a batch."""
        return numbers[self.rank :: self.size]

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all processes, in every process."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by the sum over processes; one that is missing counts as zero."""
        if self.size == 1:
            return
        present = list(parameters)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().double() for p in present])
        self.all_reduce(flat)
        for p, part in zip(present, flat.split([p.numel() for p in present]), strict=True):
            p.grad = part.reshape(p.shape).to(p.dtype)

    def agreed(self, value: float) -> float:
        """The first process's number."""
        own = torch.tensor([value if self.first else 0.0], dtype=torch.float64)
        return float(self.all_reduce(own))

    def broadcast(self, parameters: Iterable[Tensor]) -> None:
        """Replace the parameters by those of the first process."""
        if self.size == 1:
            return
        present = list(parameters)
        with torch.no_grad():
            flat = torch.cat([p.flatten().double() for p in present])
            dist.broadcast(flat, 0)
            for p, part in zip(present, flat.split([p.numel() for p in present]), strict=True):
                p.copy_(part.reshape(p.shape))

    def barrier(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()
