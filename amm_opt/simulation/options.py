"""What a run is asked for: every argument is checked before anything runs, and all that is wrong is said at once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amm_opt.cases import Case, as_case
from amm_opt.errors import Problems, unknown
from amm_opt.fields import not_callable
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.market.storage import STORE
from amm_opt.program import HorizonProgram
from amm_opt.registry import as_mechanism, default_network, network_model, network_of
from amm_opt.simulation.forecast import Forecast, as_forecast
from amm_opt.simulation.loop.job import ENOUGH, AnyProgram, Job, programs_of
from amm_opt.simulation.loop.rolling import Roll, RollingJob
from amm_opt.simulation.loop.tiers import TierJob, why_not_two_tiers
from amm_opt.simulation.loop.waiting import Sessions
from amm_opt.simulation.workers import unreachable
from amm_opt.solve.backends.known import Choice, SolverOrder, solver_order

VERIFY, SECURE = "verify", "secure"
TIERS = JOINT, TWO = "joint", "two"


@dataclass(frozen=True, eq=False)
class Settings:
    """A checked call of ``simulate``: intervals ``first .. stop - 1``, solvers in the order they are tried.

    ``network`` is a name, class or model.
    """

    case: Case
    mechanism: Mechanism[Any]
    network: Any
    order: SolverOrder
    first: int
    stop: int
    secure: bool
    roll: Roll
    sessions: Sessions | None
    tiers: str

    def job(self) -> Job:
        """What runs it."""
        job = self._job()
        job.opening, job.enough = self.first, min(ENOUGH, self.stop - self.first)
        return job

    def _job(self) -> Job:
        grid = grid_of(self.case, self.network)
        programs = programs_of(self.mechanism, grid)
        if self.tiers == TWO and programs:
            return TierJob(grid, self.mechanism, self.order, self.secure)
        if _ahead(programs) or self.roll.forecast is not None:
            return RollingJob(grid, self.mechanism, programs, self.order, self.roll, self.sessions)
        return Job(grid, self.mechanism, programs, self.order, self.secure, self.sessions)


def settled(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    network: Any,
    solver: Choice,
    steps: int | str | slice | None,
    workers: int,
    ac: str | None,
    forecast: Forecast | str | None,
    defer: bool,
    tiers: str,
    time_limit_s: float | None = None,
    progress: Any = None,
) -> Settings:
    """The arguments of ``simulate``, checked.

    Raises:
        InputError: everything that is wrong with them, and every two that exclude one another.
    """
    said = Problems()
    the_case = said.of(lambda: as_case(case))
    item = said.of(lambda: as_mechanism(mechanism))
    order = said.of(lambda: solver_order(solver, time_limit_s))
    ahead_of = said.of(lambda: as_forecast(forecast))
    said.of(lambda: check_ac(ac))
    two = isinstance(tiers, str) and tiers == TWO
    if not two and not (isinstance(tiers, str) and tiers == JOINT):
        said.of(lambda: refuse("choice of tiers", tiers, TIERS))
    said.say(
        "" if is_flag(defer) else f"defer = {defer!r} must be True or False",
        not_callable(progress, "progress"),
    )
    waits = is_flag(defer) and bool(defer)
    _check_workers(said, workers, item, (solver, forecast, network))
    said.say(*_exclusions(workers, ahead_of is not None, waits, two))
    if the_case is None:
        if isinstance(network, str):
            said.of(lambda: network_model(network))
        said.report()
        raise AssertionError
    span = said.of(lambda: the_case.span(steps))
    grid = said.of(lambda: grid_of(the_case, network))
    first, stop = span or (0, the_case.n_steps)
    roll = None if item is None else said.of(lambda: Roll.of(item, the_case.dt_h, first, stop, ahead_of))
    programs = None if item is None or grid is None else said.of(lambda: programs_of(item, grid))
    if item is not None and roll is not None and programs is not None:
        said.say(*_conflicts(item, programs, roll, ac, two))
    said.report()
    assert item is not None
    assert order is not None
    assert roll is not None
    sessions = Sessions(the_case) if waits else None
    network = default_network(the_case) if network is None else network
    return Settings(the_case, item, network, order, first, stop, ac == SECURE, roll, sessions, tiers)


def grid_of(case: Case, network: Any) -> Grid:
    """What programs on a case are built from.

    Raises:
        InputError: an unknown network model, or one that does not suit the case.
    """
    return Grid(case, network_of(case, network))


def refuse(kind: str, given: object, valid: tuple[str, ...]) -> None:
    """Raise the sentence that names a wrong choice, whatever its type, and the valid ones.

    Raises:
        InputError: always.
    """
    raise unknown(kind, given if isinstance(given, str) else repr(given), valid)


def is_flag(value: object) -> bool:
    """Whether a value is True or False."""
    return isinstance(value, bool | np.bool_)


def check_ac(ac: str | None) -> None:
    """Refuse anything but None, ``verify`` and ``secure``.

    Raises:
        InputError: with the valid choices.
    """
    if not (ac is None or (isinstance(ac, str) and ac in (VERIFY, SECURE))):
        refuse("choice of ac", ac, (VERIFY, SECURE))


def alone(mechanism: Mechanism[Any], *others: Any) -> str:
    """Why a mechanism cannot be spread over processes; empty where it can."""
    if type(mechanism).advance is not Mechanism.advance:
        return f"{mechanism} carries a state from interval to interval"
    try:
        pickle.dumps((mechanism, *others))
    except Exception as error:
        return f"{mechanism} cannot be sent to other processes ({error})"
    return unreachable(type(mechanism))


def _check_workers(said: Problems, workers: int, mechanism: Mechanism[Any] | None, others: tuple[Any, ...]) -> None:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        said.say(f"workers = {workers!r} must be a whole number of at least 1")
    elif workers > 1 and mechanism is not None and (reason := alone(mechanism, *others)):
        said.say(f"{reason}: workers must be 1")


def _exclusions(workers: int, forecast: bool, waits: bool, two: bool) -> Iterator[str]:
    """Arguments that exclude one another, whatever the case and the mechanism."""
    if waits and forecast:
        yield "energy that can wait needs everything to be known beforehand: give no forecast"
    if waits and isinstance(workers, int) and workers > 1:
        yield "energy that can wait is carried from interval to interval: workers must be 1"
    if two and forecast:
        yield "two tiers are for perfect forecasts only"
    if two and waits:
        yield "two tiers are for requests that do not wait"


def _ahead(programs: Mapping[str, AnyProgram]) -> bool:
    return any(isinstance(p, HorizonProgram) for p in programs.values())


def _conflicts(
    mechanism: Mechanism[Any], programs: Mapping[str, AnyProgram], roll: Roll, ac: str | None, two: bool
) -> list[str]:
    """What a mechanism cannot be combined with, one sentence each."""
    ahead = _ahead(programs)
    problems = []
    if roll.horizon > 1 and not ahead:
        problems.append(f"{mechanism}: horizon = {roll.horizon} needs a HorizonProgram, which it does not declare")
    stores = any(isinstance(p, HorizonProgram) and STORE in p.stores for p in programs.values())
    if roll.forecast is not None and stores:
        problems.append(f"{mechanism}: batteries are scheduled on perfect forecasts only")
    if isinstance(ac, str) and ac == SECURE and (ahead or roll.forecast is not None):
        problems.append(f"{mechanism}: AC-secure allocations are for mechanisms without horizon, on perfect forecasts")
    if two:
        problems.append(why_not_two_tiers(mechanism, programs))
    return problems
