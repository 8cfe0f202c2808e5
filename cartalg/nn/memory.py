"""Memory of a plan: slots that are alive at different times share it."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from cartalg.nn.adjoints import Instruction
from cartalg.nn.values import Slot


def give_memory(
    program: Sequence[Instruction], first: Mapping[Slot, int], lasting: Iterable[Slot], spare: Iterable[Tensor]
) -> list[Tensor]:
    """Give memory to slots, from the first to the last instruction that touches them.

    Args:
        program: All instructions, in order.
        first: Of slots that are written from outside, the instruction before which they are.
        lasting: Slots that keep their memory.
        spare: Blocks that may be taken.
    Returns:
        The blocks that are used.
    """
    begin, end, spare = dict(first), dict(first), [*spare]
    for n, instruction in enumerate(program):
        for slot in instruction.slots:
            begin.setdefault(slot.whole[0], n)
            end[slot.whole[0]] = n
    end |= dict.fromkeys((s.whole[0] for s in lasting), len(program))
    blocks: list[Tensor] = []
    free: list[Tensor] = []
    taken: list[tuple[int, Tensor]] = []
    for slot, start in sorted(begin.items(), key=lambda pair: pair[1]):
        if slot.memory is not None:
            continue
        free += [block for until, block in taken if until < start]
        taken = [pair for pair in taken if pair[0] >= start]
        size = math.prod(slot.shape)
        block = _fitting(free, size, slot.dtype, math.inf)
        if block is None:
            block = _fitting(spare, size, slot.dtype, 2 * size)
            block = torch.empty(size, dtype=slot.dtype) if block is None else block
            blocks.append(block)
        taken.append((end[slot], block))
        slot.memory = block[:size].view(slot.shape)
    return blocks


def _fitting(blocks: list[Tensor], size: int, dtype: torch.dtype, most: float) -> Tensor | None:
    """Take the smallest block of size..most numbers out of a list."""
    fitting = [(b.numel(), n) for n, b in enumerate(blocks) if size <= b.numel() <= most and b.dtype == dtype]
    return blocks.pop(min(fitting)[1]) if fitting else None
