"""What limits branches: a rating in kVA, active power by direction, and how a scenario changes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import is_number, shortened

BRANCH_LIMITS = {"rating_kva": np.inf, "import_limit_kw": np.inf, "export_limit_kw": np.inf}
"""Columns of the branch table, and what stands for no limit."""
RATING = "rating_kva"

NamedLimits = Mapping[str, Mapping[str, float]]


def checked_limits(limits: object) -> dict[str, dict[str, float]]:
    """Limits by the name of their branch: ``{"feeder head": {"import_limit_kw": 4000.0}}``; a number is a rating.

    Raises:
        InputError: where this is no such table, or a limit is no positive number.
    """
    if not isinstance(limits, Mapping):
        raise InputError(f"limits = {shortened(limits)} must be a table of limits by the name of their branch")
    problems: list[str] = []
    table: dict[str, dict[str, float]] = {}
    for name, given in limits.items():
        own = dict(given) if isinstance(given, Mapping) else {RATING: given}
        for key, value in own.items():
            what = f"limits of branch {name!r}: {shortened(key) if not isinstance(key, str) else key}"
            if key not in BRANCH_LIMITS:
                problems.append(f"{what} is unknown; valid choices: {', '.join(BRANCH_LIMITS)}")
            elif not is_number(value) or not value > 0:
                problems.append(f"{what} = {shortened(value)} must be a positive number")
        table[name] = own
    if problems:
        raise InputError(problems)
    return {name: {key: float(value) for key, value in own.items()} for name, own in table.items()}


def unknown_branches(limits: NamedLimits, known: Sequence[str]) -> Iterator[str]:
    """One sentence for each branch that is none, with the names that are most like it."""
    for name in limits:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=4, cutoff=0.0)
            yield f"limits: unknown branch {name!r}; valid choices are the names in branches, such as {', '.join(near)}"


@dataclass(frozen=True)
class LimitChanges:
    """How the limits of branches differ from those in their table.

    Attributes:
        limits: by branch, what stands in place of the table's numbers.
        capacity_scale: factor on every limit of every branch.
        mv_capacity_scale, lv_capacity_scale: factors on those of branches that feed a bus of this tier, so that a
            distribution transformer counts as LV.
    """

    limits: NamedLimits = field(default_factory=dict)
    capacity_scale: float = 1.0
    mv_capacity_scale: float = 1.0
    lv_capacity_scale: float = 1.0

    def __post_init__(self) -> None:
        factors = ("capacity_scale", "mv_capacity_scale", "lv_capacity_scale")
        problems = [
            f"{name} = {getattr(self, name)} must be positive" for name in factors if not getattr(self, name) > 0
        ]
        if problems:
            raise InputError(problems)
        object.__setattr__(self, "limits", checked_limits(self.limits))

    def applied(self, branches: pd.DataFrame, tier: Iterable[str]) -> dict[str, FloatArray]:
        """Every column of ``BRANCH_LIMITS`` after the changes.

        Args:
            branches: (b rows) the table; branches that are named but not in it are not looked for.
            tier: (b,) tier of the bus that each of them feeds.
        """
        own = np.where(np.array(list(tier), dtype=object) == "MV", self.mv_capacity_scale, self.lv_capacity_scale)
        place = {name: i for i, name in enumerate(branches["name"])} if self.limits else {}
        columns = {column: branches[column].to_numpy(dtype=float).copy() for column in BRANCH_LIMITS}
        for name, given in self.limits.items():
            for column, value in given.items():
                if name in place:
                    columns[column][place[name]] = value
        return {column: values * (self.capacity_scale * own) for column, values in columns.items()}
