"""Phase shifts of transformers: those that sum to nothing around every loop turn angles alone."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pandas as pd

from amm_opt.errors import InputError, shorten
from amm_opt.importers.radial.loops import MOST_LOOPS, closed_graph
from amm_opt.importers.radial.sources import JOINT

SAME_DEGREE = 1e-6


def check_shifts(branches: pd.DataFrame, source: str, case: str) -> None:
    """Stop at loops around which phase shifts do not sum to whole turns, since those drive power and ``dc`` has none.

    Without such a loop the shifts between a bus and the source add up to the same angle on every way (but for whole
    turns). Measured from that angle, no branch shifts anything.

    Args:
        branches: may have ``shift_degree``, by which ``to_bus`` lags behind ``from_bus``.
        source: bus from which loops are looked for; all closed branches hang together with it.
        case: name of the network.

    Raises:
        InputError: every such loop, with its transformers that shift.
    """
    if "shift_degree" not in branches or not branches["shift_degree"].any():
        return
    shift = dict(zip(branches["name"], branches["shift_degree"].fillna(0.0), strict=True))
    start = dict(zip(branches["name"], branches["from_bus"], strict=True))
    graph = closed_graph(branches)
    graph.add_node(source)
    tree: nx.Graph[str] = nx.Graph()
    angle = {source: 0.0}
    for above, below in nx.bfs_edges(graph, source):
        name = next(iter(graph[above][below]))
        tree.add_edge(above, below, name=name)
        angle[below] = angle[above] - (shift[name] if start[name] == above else -shift[name])
    turned = {}
    for a, b, name in graph.edges(keys=True):
        first, last = (a, b) if start[name] == a else (b, a)
        total = angle[first] - shift[name] - angle[last]
        turned[name, first, last] = abs(total - 360.0 * np.round(total / 360.0))
    wrong = {edge: total for edge, total in turned.items() if total > SAME_DEGREE}
    problems, joined = [], []
    for (name, first, last), total in list(wrong.items())[:MOST_LOOPS]:
        path = nx.shortest_path(tree, first, last)
        if JOINT in path:
            joined += [path[path.index(JOINT) - 1], path[path.index(JOINT) + 1]]
            continue
        loop = [name, *(tree.edges[pair]["name"] for pair in itertools.pairwise(path))]
        shifting = [f"{n} ({shift[n]:g})" for n in loop if shift[n]]
        problems.append(
            f"loop of {len(loop)} branches through {name!r}: phase shifts sum to {total:g} degrees, and dc has no phase"
            f" shifters; in degrees: {shorten(shifting, 20)}"
        )
    if joined:
        problems.append(
            f"phase shifts on the ways between sources do not sum to nothing: {shorten(dict.fromkeys(joined))}; keep"
            " those of one level, as in sources=[...]"
        )
    if len(wrong) > MOST_LOOPS:
        problems.append(f"and {len(wrong) - MOST_LOOPS} more loops")
    if problems:
        raise InputError(problems, subject=case)
