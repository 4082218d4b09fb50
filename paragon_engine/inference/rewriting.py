"""Matching and replacing in chains."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Chain = list[nn.Module]

Rule = Callable[[Chain, int], "tuple[int, Chain] | None"]
"""Looks at a chain from one position on; returns how many modules it takes and what replaces them, or None."""


def rewrite(root: nn.Module, rule: Rule) -> int:
    """Apply a rule to every chain below ``root``, from left to right, and return how often it matched."""
    count = 0
    for sequence in [module for module in root.modules() if type(module) is nn.Sequential]:
        before = list(sequence)
        after, matched = rewritten(before, rule)
        if matched:
            replace_all(sequence, after)
            count += matched
    return count


def rewritten(before: Chain, rule: Rule) -> tuple[Chain, int]:
    """One chain after a rule, and how often it matched."""
    after: Chain = []
    matched = position = 0
    while position < len(before):
        found = rule(before, position)
        if found is None:
            after.append(before[position])
            position += 1
        else:
            after.extend(found[1])
            position += found[0]
            matched += 1
    return after, matched


def replace_all(sequence: nn.Sequential, modules: Chain) -> None:
    """Give a chain other contents."""
    while len(sequence):
        del sequence[-1]
    sequence.extend(modules)


def pair(chain: Chain, position: int) -> tuple[nn.Module, nn.Module] | None:
    """The modules at ``position`` and after it, where there are two."""
    return (chain[position], chain[position + 1]) if position + 1 < len(chain) else None
