"""Other ratings of lines, transformers and switches: a reinforced or a weaker network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray
from amm_opt.cases.scenario import MAX_SCALE, Scenario
from amm_opt.errors import InputError
from amm_opt.fields import is_number, shortened
from amm_opt.network import Feeder
from amm_opt.network.feeder.limits import RATING, unknown_branches
from amm_opt.network.feeder.tables import BRANCH_KINDS, TIERS


def rated(
    feeder: Feeder,
    scenario: Scenario,
    branches: pd.DataFrame,
    kind: str | None,
    tier: str | None,
    names: Collection[str] | None,
    factor: float,
) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """The table of branches, and the scenario's limits of single branches, with some ratings multiplied.

    Raises:
        InputError: see ``Case.with_ratings``.
    """
    problems = [
        f"{what} = {shortened(value)}; valid choices: {', '.join(choices)}"
        for what, value, choices in (("kind", kind, BRANCH_KINDS), ("tier", tier, TIERS))
        if not (value is None or (isinstance(value, str) and value in choices))
    ]
    if not (is_number(factor) and 0 < factor <= MAX_SCALE):
        problems.append(f"factor = {shortened(factor)} must be a positive number of at most {MAX_SCALE:g}")
    own = list(branches["name"])
    if names is not None and not _are_texts(names):
        problems.append(f"names = {shortened(names)} must be a list of names of branches")
    elif names is not None:
        problems += [f"names{said.removeprefix('limits')}" for said in unknown_branches({n: {} for n in names}, own)]
    if problems:
        raise InputError(problems, subject="with_ratings")
    chosen = np.ones(len(branches), dtype=bool)
    chosen &= True if kind is None else branches["kind"].eq(kind).to_numpy()
    chosen &= True if tier is None else _feeds(feeder, branches) == tier
    chosen &= True if names is None else branches["name"].isin(list(names)).to_numpy()
    limits = {name: dict(given) for name, given in scenario.limits.items()}
    named = np.array([RATING in limits.get(name, {}) for name in own], dtype=bool)
    _check_chosen(chosen, named | np.isfinite(branches[RATING].to_numpy(float)), branches)
    rating = branches[RATING].where(~chosen, branches[RATING] * factor)
    for name in branches["name"][chosen & named]:
        limits[name][RATING] *= factor
    return branches.assign(**{RATING: rating}), limits


def _are_texts(names: object) -> bool:
    return not isinstance(names, str) and isinstance(names, Collection) and all(isinstance(n, str) for n in names)


def _check_chosen(chosen: BoolArray, limited: BoolArray, branches: pd.DataFrame) -> None:
    if not chosen.any():
        kinds = ", ".join(f"{count} of kind {kind}" for kind, count in branches["kind"].value_counts().items())
        raise InputError(f"no branch is of this kind, tier and name; there are {kinds}", subject="with_ratings")
    if not (chosen & limited).any():
        raise InputError(
            f"none of the {int(chosen.sum())} branches of this kind, tier and name has a rating to be multiplied; give"
            " them one in the table branches (with_tables) or in the scenario (with_scenario)",
            subject="with_ratings",
        )


def _feeds(feeder: Feeder, branches: pd.DataFrame) -> Any:
    """Tier of the bus that each branch of the table feeds; of an open one LV where one of its ends is."""
    feeds = dict(zip(feeder.branch_names[1:], feeder.tier[1:], strict=True))
    of_bus = dict(zip(feeder.bus_names, feeder.tier, strict=True))
    ends = zip(branches["name"], branches["from_bus"], branches["to_bus"], strict=True)
    tiers = [feeds.get(name, "LV" if "LV" in (of_bus[start], of_bus[stop]) else "MV") for name, start, stop in ends]
    return np.array(tiers, dtype=object)
