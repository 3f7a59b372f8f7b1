"""The order of a feeder's buses and branches: a depth-first walk of a tree from the source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from amm_opt.arrays import IntArray


def walk(n: int, source: int, ends: Iterable[tuple[int, int]]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Depth-first order of a tree: order, parent position, feeding branch, subtree end (all by position)."""
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    for b, (u, v) in enumerate(ends):
        neighbours[u].append((v, b))
        neighbours[v].append((u, b))
    order: list[int] = []
    parent: list[int] = []
    branch: list[int] = []
    stack = [(source, -1, -1)]
    while stack:
        bus, up, via = stack.pop()
        position = len(order)
        order.append(bus)
        parent.append(up)
        branch.append(via)
        stack.extend((v, position, b) for v, b in reversed(neighbours[bus]) if b != via)
    size = [1] * n
    for i in range(n - 1, 0, -1):
        size[parent[i]] += size[i]
    return order, parent, branch, [i + size[i] for i in range(n)]


def spanning(n: int, start: IntArray, stop: IntArray) -> tuple[IntArray, IntArray]:
    """Branches of a spanning tree of a connected network of n buses, and those that close its cycles.

    A branch closes a cycle where those before it in the table already join its ends.
    """
    root = list(range(n))

    def top(bus: int) -> int:
        while root[bus] != bus:
            root[bus] = root[root[bus]]
            bus = root[bus]
        return bus

    inside = np.zeros(len(start), dtype=bool)
    for b, (u, v) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        one, two = top(u), top(v)
        root[one], inside[b] = two, one != two
    return np.flatnonzero(inside), np.flatnonzero(~inside)
