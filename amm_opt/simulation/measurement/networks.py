"""Network models that are not what is in the ground: impedances, phases, feeders, switches and taps.

Each kind makes another case of a case: the one that the mechanism believes in. Its limits, participants and profiles
stay what they are otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray
from amm_opt.cases import Case
from amm_opt.cases.folder.parts import feeder_tables
from amm_opt.network import Feeder
from amm_opt.simulation.measurement import draws
from amm_opt.simulation.measurement.base import Fault, negative, no_name, no_rate, too_large

TRANSFORMER = "transformer"
LARGEST_SIGMA = 2.0
"""Of impedances: one branch in 20 is believed to be exp(4) = 55 times what it is, or a 55th."""


@dataclass(frozen=True)
class Wrong(Fault):
    """Base of every kind that concerns the network model."""

    @abstractmethod
    def believed(self, case: Case) -> Case:
        """The case as the mechanism believes it to be.

        Raises:
            InputError: where the case has no such thing.
        """


def _with_branches(case: Case, branches: pd.DataFrame) -> Case:
    """The case with another table of branches, as ``Feeder.from_tables`` takes it.

    Raises:
        InputError: what ``Feeder.from_tables`` refuses.
    """
    made = Feeder.from_tables(feeder_tables(case.feeder)[0], branches, meshed=case.feeder.tables.meshed)
    return replace(case, feeder=case.scenario.applied(made), source="")


def _triangles(matrices: Any) -> tuple[list[Any], list[Any]]:
    """Resistances and reactances as the table of branches has them: numbers, or lower triangles as text."""

    def written(z: Any) -> Any:
        if len(z) == 1:
            return float(z[0, 0])
        return " | ".join(" ".join(repr(float(v)) for v in row[: k + 1]) for k, row in enumerate(z))

    return [written(np.real(z)) for z in matrices], [written(np.imag(z)) for z in matrices]


@dataclass(frozen=True)
class Impedance(Wrong):
    """Each branch's impedance, the whole matrix, times scale exp(sigma e), e standard normal for each branch.

    Args:
        sigma: relative error of single branches; ``scale`` is one of all, such as 0.8 for lines that are recorded with
            a larger cross-section than they have.
    """

    kind: ClassVar[str] = "impedance"

    sigma: float = 0.0
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        bad = f"scale = {self.scale} must be positive" if self.scale <= 0 else ""
        self.refuse(bad, *negative(self, "sigma", "seed"), *too_large(self, LARGEST_SIGMA, "sigma"))

    def believed(self, case: Case) -> Case:
        """Open branches too, which count where they are closed."""
        tables = case.feeder.tables.branches
        names = tuple(tables["name"])
        u = draws.once(self.seed, "impedance", names)
        factor = self.scale * np.exp(self.sigma * draws.standard(u))
        r, x = _triangles([z * f for z, f in zip(tables["z_ohm"], factor, strict=True)])
        return _with_branches(case, feeder_tables(case.feeder)[1].assign(r_ohm=r, x_ohm=x))


@dataclass(frozen=True)
class Tap(Wrong):
    """A transformer's tap ratio times ``ratio``.

    Args:
        ratio: such as 1.025 for a tap changer that is believed one position higher.
        branch: name of the transformer; all of them where None.
    """

    kind: ClassVar[str] = "tap"

    ratio: float = 1.0
    branch: str | None = None

    def __post_init__(self) -> None:
        self.refuse(f"ratio = {self.ratio} must be positive" if self.ratio <= 0 else "")

    def believed(self, case: Case) -> Case:
        """The ratio is that of the table, on the ``from_bus`` side."""
        branches = feeder_tables(case.feeder)[1]
        own = branches["kind"].eq(TRANSFORMER)
        chosen = own if self.branch is None else branches["name"].eq(self.branch)
        names = [str(name) for name in branches["name"][own]]
        if self.branch is not None:
            self.refuse(no_name(TRANSFORMER, self.branch, names))
        self.refuse("" if chosen.any() else f"case {case.name} has no transformer")
        return _with_branches(case, branches.assign(tap=branches["tap"].where(~chosen, branches["tap"] * self.ratio)))


@dataclass(frozen=True)
class Switch(Wrong):
    """Branches that are believed open or closed and are not; what is believed must still feed every bus, and once.

    Args:
        open: name of a branch that is believed open; ``close`` of one that is believed closed.
    """

    kind: ClassVar[str] = "switch"

    open: str | None = None
    close: str | None = None

    def __post_init__(self) -> None:
        self.refuse("" if self.open or self.close else "give the branch that is believed to be open or closed")

    def believed(self, case: Case) -> Case:
        """What is believed is checked as any feeder is."""
        branches = feeder_tables(case.feeder)[1]
        closed, names = branches["closed"].copy(), [str(name) for name in branches["name"]]
        self.refuse(*(no_name("branch", n, names) for n in (self.open, self.close) if n is not None))
        closed[branches["name"].eq(self.open)] = False
        closed[branches["name"].eq(self.close)] = True
        return _with_branches(case, branches.assign(closed=closed))


@dataclass(frozen=True)
class _OfCustomers(Wrong):
    """Customers whose place is recorded wrong: one by name, or a share of all, drawn by name."""

    rate: float | None = None
    customer: str | None = None
    to: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        both = self.rate is not None and (self.customer is not None or self.to is not None)
        none = self.rate is None and (self.customer is None or self.to is None)
        wrong = "give rate, or customer and to" if both or none else ""
        self.refuse(wrong, no_rate(self.rate), *negative(self, "seed"))

    def _chosen(self, case: Case, able: BoolArray) -> list[int]:
        """Positions of the customers that are misplaced, of those that can be."""
        names = case.participant_names
        if self.customer is not None:
            self.refuse(no_name("customer", self.customer, names))
            return [names.index(self.customer)]
        assert self.rate is not None
        drawn = draws.once(self.seed, self.kind, names) < self.rate
        return [int(k) for k in np.flatnonzero(drawn & able)]

    def _moved(self, case: Case, column: str, new: dict[int, str]) -> Case:
        values = [new.get(k, old) for k, old in enumerate(case.participants[column])]
        return replace(case, participants=case.participants.assign(**{column: values}), source="")


@dataclass(frozen=True)
class Phase(_OfCustomers):
    """Customers on one phase that are believed on another one of their bus.

    Args:
        rate: share of them, drawn by name, each on one of the other phases; or ``customer`` and the phase ``to``.
    """

    kind: ClassVar[str] = "phase"

    def believed(self, case: Case) -> Case:
        """Who is on all phases of its bus, or at one with a single phase, stays."""
        others = [self._others(case, k) for k in range(case.n_participants)]
        able = np.array([bool(other) for other in others], dtype=bool)
        self.refuse("" if able.any() else f"nobody in case {case.name} is on one of several phases of a bus")
        draw = draws.once(self.seed, "which phase", case.participant_names)
        new = {k: self.to or others[k][int(draw[k] * len(others[k]))] for k in self._chosen(case, able)}
        for k, phase in new.items():
            who, there = case.participant_names[k], ", ".join(others[k]) or "none"
            self.refuse("" if phase in others[k] else f"{who!r} cannot be on phase {phase!r}; other phases: {there}")
        return self._moved(case, "phases", new)

    @staticmethod
    def _others(case: Case, k: int) -> list[str]:
        own, there = case.phases[k], case.feeder.phases[case.bus[k]]
        return [phase for phase in there if phase != own] if len(own) == 1 and own in there else []


@dataclass(frozen=True)
class OtherFeeder(_OfCustomers):
    """Customers of an LV feeder that are believed on another one, at one of the buses where it has customers.

    Args:
        rate: share of them, drawn by name, each on one of the other LV feeders; or ``customer`` and the LV feeder
            ``to``.
    """

    kind: ClassVar[str] = "feeder"

    def believed(self, case: Case) -> Case:
        """Customers of the upper tier stay."""
        names = case.feeder.lv_feeders
        if self.to is not None:
            self.refuse(no_name("LV feeder", self.to, names))
        draw = draws.once(self.seed, "which bus", case.participant_names)
        new: dict[int, str] = {}
        for k in self._chosen(case, case.lv_feeder >= 0):
            places = self._places(case, k)
            who = case.participant_names[k]
            self.refuse("" if places else f"no other LV feeder has customers on the phases of {who!r}")
            new[k] = places[int(draw[k] * len(places))]
        return self._moved(case, "bus", new)

    def _places(self, case: Case, k: int) -> list[str]:
        """Buses of other LV feeders, or of the one that is named, where customers are that have its phases."""
        feeder, own = case.feeder, case.lv_feeder[k]
        wanted = None if self.to is None else feeder.lv_feeders.index(self.to)
        fits = (
            b
            for b in np.unique(case.bus).tolist()
            if feeder.lv_feeder[b] >= 0
            and feeder.lv_feeder[b] != own
            and wanted in (None, int(feeder.lv_feeder[b]))
            and (feeder.balanced or set(case.phases[k]) <= set(feeder.phases[b]))
        )
        return sorted(feeder.bus_names[b] for b in fits)
