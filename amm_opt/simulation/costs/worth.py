"""What every generator is worth in each interval: its part of the Shapley value of its cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.network import NetworkModel

ALWAYS = "battery power"
"""Name of the profile by which batteries offer their power."""


@dataclass(frozen=True, eq=False)
class Worth:
    """Generators, and what each adds to the load that is served, (T, G) kW, interval by interval."""

    generators: tuple[str, ...]
    value: FloatArray


def generator_worth(
    case: Case,
    start: int,
    stop: int,
    *,
    network: NetworkModel | str = "transport",
    every: int = 1,
    rounds: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Worth:
    """Shapley values of the generators of a case in intervals ``start`` to ``stop - 1``.

    The game is how much load is served with the clusters of a set (``clusters``, ``NetworkGame``); inside a cluster
    value is shared by availability. A battery takes part with its whole power in every interval, whatever it holds
    (ours: what it can add, not what it happens to do).

    Args:
        network: ``transport`` as in the source, or a network model.
        every: an interval is looked at every so many, and stands for those up to the next. So many that make whole days
            are always the same hour.
        rounds: as for ``shapley``.
        seed: likewise.
        progress: called with (intervals looked at, all).

    Raises:
        InputError: where there are no generators, or inflexible load, which no source meets here.
    """
    from amm_opt.market.shapley import clusters, shapley_span

    offering = _with_batteries_offered(case)
    found = shapley_span(
        offering,
        clusters(offering),
        network=network,
        steps=slice(start, stop),
        every=every,
        rounds=rounds,
        seed=seed,
        progress=progress,
    )
    return Worth(found.names, np.repeat(found.value, every, axis=0)[: stop - start])


def _with_batteries_offered(case: Case) -> Case:
    """The same case in which batteries are plants of their power."""
    at, scale = case.batteries.participant, case.scenario.export_scale
    if not len(at) or scale == 0:
        return case
    tables = case.tables()
    people, name = tables["participants"], ALWAYS
    while name in tables["profiles"]:
        name += " "
    own = pd.DataFrame(
        {
            "participant": people["name"].iloc[at].to_numpy(),
            "quantity": "export",
            "profile": name,
            "scale_kw": case.batteries.power_kw / scale,
            "shift_steps": 0,
        }
    )
    people.loc[people.index[at], "connection_export_kw"] = np.inf
    people.loc[people.index[at], ["battery_kwh", "battery_kw"]] = 0.0
    return case.with_tables(
        participants=people,
        profiles=tables["profiles"].assign(**{name: 1.0}),
        series=pd.concat([tables["series"], own], ignore_index=True),
    )
