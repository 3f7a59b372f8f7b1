"""What a run is asked for: every argument is checked before anything runs, and all that is wrong is said at once."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from amm_opt.cases import Case, as_case
from amm_opt.errors import Problems, as_path, one_line, unknown
from amm_opt.fields import not_callable
from amm_opt.grid import Grid
from amm_opt.margins import AutoMargin, Margin, Trained, asked_margin
from amm_opt.market import Mechanism
from amm_opt.network import ACNetwork
from amm_opt.program import HorizonProgram
from amm_opt.registry import as_mechanism, default_network, network_model
from amm_opt.simulation.compatibility import Asked, conflicts
from amm_opt.simulation.forecast import Forecast, as_forecast
from amm_opt.simulation.loop.guard import Guard, Repair
from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.matching import JointMatching, Matching, matches
from amm_opt.simulation.loop.planning import IntervalPlanner, Planner, WindowPlanner, Windows
from amm_opt.simulation.loop.secure import ACSecurity
from amm_opt.simulation.loop.tiers import TwoTierMatching
from amm_opt.simulation.loop.waiting import Sessions
from amm_opt.simulation.measurement import Fault, Measurement, World, as_measurement
from amm_opt.simulation.results.column import Column, checked_columns
from amm_opt.simulation.results.columns import COLUMNS
from amm_opt.simulation.shared import Shared, needs_all_buses
from amm_opt.simulation.start import Start, start_of
from amm_opt.simulation.workers import unreachable
from amm_opt.solve.backends.known import Choice, SolverOrder, solver_order

VERIFY, SECURE = "verify", "secure"
TIERS = JOINT, TWO = "joint", "two"
NO_ERRORS = "margin auto needs the errors that it is found under: give a measurement such as noise:sigma=0.2,of=load"


@dataclass(frozen=True, eq=False)
class Options:
    """How mechanisms are run: the arguments of ``simulate`` as they were given, see there."""

    network: Any = None
    solver: Choice = None
    steps: int | str | slice | None = None
    workers: int = 1
    ac: str | None = None
    opendss: str | Path | None = None
    forecast: Forecast | str | None = None
    measurement: Measurement | Fault | Sequence[Fault] | str | None = None
    defer: bool = False
    tiers: str = JOINT
    margin: Margin | AutoMargin | str | None = None
    time_limit_s: float | None = None
    columns: Sequence[Column] = ()
    state: Any = None
    progress: Any = None


@dataclass(frozen=True, eq=False)
class Settings:
    """A checked call of ``simulate``: intervals ``first .. stop - 1``, solvers in the order they are tried.

    Attributes:
        network: name, class or model.
        start: state and backlog before the first interval; None where nothing has been before.
        workers: processes that are asked for; ``one_process`` says why there can be one only, where that is so.
        shared: what it has in common with other runs.
        believed: the case as the mechanism believes it to be; the case itself unless a measurement makes it another.
        opendss: the file on all wires of which AC is judged; None where the feeder itself is.
        auto: how a margin is to be found before the run; ``trained`` says which was, and ``margin`` is that one then.
    """

    case: Case
    believed: Case
    mechanism: Mechanism[Any]
    network: Any
    order: SolverOrder
    first: int
    stop: int
    windows: Windows
    workers: int
    one_process: str
    secure: bool
    verified: bool
    forecast: Forecast | None
    measurement: Measurement | None
    sessions: Sessions | None
    tiers: str
    start: Start | None
    columns: tuple[Column, ...]
    progress: Any
    shared: Shared
    margin: Margin | None = None
    opendss: Path | None = None
    auto: AutoMargin | None = None
    trained: Trained | None = None

    @property
    def training_span(self) -> tuple[int, int]:
        """The intervals before the run on which a margin is found.

        Raises:
            InputError: where the case has not as many.
        """
        assert self.auto is not None
        return self.auto.span(self.first, self.stop, self.case.dt_h, self.case.name)

    def training(self, margin: Margin | None) -> Settings:
        """The same on the training span, with a margin that is tried; the mechanism remembers nothing before it."""
        first, stop = self.training_span
        windows = Windows.of(self.mechanism, self.case.dt_h, stop - first)
        span = replace(self, first=first, stop=stop, windows=windows, start=None)
        return replace(span, auto=None, margin=margin, columns=(), progress=None)

    def after(self, trained: Trained) -> Settings:
        """The run itself, with the margin that was found."""
        assert self.auto is not None
        margin = replace(self.auto.margin, scale=trained.scale) if trained.scale else None
        return replace(self, auto=None, margin=margin, trained=trained)

    def loop(self) -> Loop:
        """What runs it.

        Raises:
            InputError: where a program cannot be compiled, or solved by the named solver.
        """
        whole, mechanism = self.shared.on(self.believed, self.network, self.margin), self.mechanism
        planned = self.measurement is not None or self.forecast is not None
        all_wires = self.secure and self.opendss is not None
        all_buses = needs_all_buses(all_wires=all_wires, two_tiers=self.tiers == TWO, planned=planned)
        options = {"waits": self.sessions is not None, "secure": self.secure}
        shared = whole if all_buses else whole.merged(self.first, self.stop, **options)
        grid, programs = shared.grid, shared.programs(mechanism)
        shared.expect(self.first, self.stop)
        world = None
        if self.measurement is not None:
            world = World(self.measurement, self.shared.on(self.case, self.network))
            self.shared.on(self.case, self.network).expect(self.first, self.stop)
        repair = Repair(grid, self.order)
        guard = Guard(
            grid,
            enforces_limits=mechanism.enforces_limits,
            feasible_at_limits_only=mechanism.feasible_at_limits_only,
            repair=repair,
            security=self._security(grid) if mechanism.enforces_limits else None,
        )
        if self.tiers == TWO and matches(mechanism, programs):
            matching: Matching = TwoTierMatching(grid, mechanism, self.order, repair)
        else:
            solvers = {name: shared.solver(name, program, self.order) for name, program in programs.items()}
            matching = JointMatching(grid, mechanism, solvers)
        ahead = any(isinstance(p, HorizonProgram) for p in programs.values())
        kind: Any = WindowPlanner if ahead else IntervalPlanner
        planner: Planner = kind(grid, mechanism, matching, guard)
        return Loop(
            shared,
            mechanism,
            matching,
            guard,
            planner,
            self.windows,
            self.first,
            self.stop,
            whole.grid if world is None else world.on.grid,
            self.forecast,
            self.sessions,
            self.start,
            world,
        )

    def _security(self, grid: Grid) -> ACSecurity | None:
        if not self.secure:
            return None
        feeder = grid.network.of_nodes
        whole = feeder is grid.network.feeder
        wires = self.shared.wires(self.believed, self.opendss) if whole else ACNetwork(feeder, threads=-1)
        return ACSecurity(grid, wires)


def settled(
    case: Case | str | Path, mechanism: Mechanism[Any] | str, options: Options, shared: Shared | None = None
) -> Settings:
    """The arguments of ``simulate``, checked.

    Args:
        shared: what the run has in common with others, if there are others.

    Raises:
        InputError: everything that is wrong with them, and every row of the compatibility table that holds.
    """
    said = Problems()
    the_case = said.of(lambda: as_case(case))
    item = said.of(lambda: as_mechanism(mechanism))
    order = said.of(lambda: solver_order(options.solver, options.time_limit_s))
    forecast = said.of(lambda: as_forecast(options.forecast))
    asked_for = said.of(lambda: asked_margin(options.margin))
    auto = asked_for if isinstance(asked_for, AutoMargin) else None
    margin = asked_for.margin if isinstance(asked_for, AutoMargin) else asked_for
    measurement = said.of(lambda: as_measurement(options.measurement))
    opendss = None if options.opendss is None else said.of(lambda: as_path(options.opendss, "file"))
    columns = said.of(lambda: checked_columns(options.columns, tuple(COLUMNS)))
    said.say(*_wrong(options))
    span = None if the_case is None else said.of(lambda: the_case.span(options.steps))
    shared = shared or Shared()
    believed = None if the_case is None else said.of(lambda: shared.believed(the_case, measurement))
    asked = _asked(said, options, believed or the_case, item, forecast is not None, margin, span, shared, opendss)
    said.of(conflicts(asked).report)
    sessions = Sessions(the_case) if the_case is not None and asked.defer else None
    if auto is not None:
        said.say("" if options.measurement is not None else NO_ERRORS)
        if the_case is not None and span is not None:
            said.of(lambda: auto.span(*span, the_case.dt_h, the_case.name))
    start = None
    if the_case is not None and item is not None and span is not None:
        start = said.of(lambda: start_of(options.state, item, the_case, span[0], sessions))
    said.report()
    assert the_case is not None
    assert item is not None
    assert order is not None
    assert span is not None
    assert asked.windows is not None
    return Settings(
        case=the_case,
        believed=believed or the_case,
        mechanism=item,
        network=_network(the_case, options),
        order=order,
        first=span[0],
        stop=span[1],
        windows=asked.windows,
        workers=options.workers,
        one_process=one_process(item, options),
        secure=asked.secure,
        verified=options.ac is not None,
        forecast=forecast,
        measurement=measurement,
        sessions=sessions,
        tiers=options.tiers,
        start=start,
        columns=columns or (),
        progress=options.progress,
        shared=shared,
        margin=margin,
        opendss=opendss,
        auto=auto,
    )


def _network(case: Case, options: Options) -> Any:
    return default_network(case) if options.network is None else options.network


def _asked(
    said: Problems,
    options: Options,
    case: Case | None,
    mechanism: Mechanism[Any] | None,
    forecast: bool,
    margin: Margin | None,
    span: tuple[int, int] | None,
    shared: Shared,
    opendss: Path | None,
) -> Asked:
    """What the compatibility table is asked; what does not make sense by itself goes to ``said``."""
    on = windows = programs = None
    if case is not None:
        on = said.of(lambda: shared.on(case, _network(case, options), margin))
    elif isinstance(options.network, str):
        said.of(lambda: network_model(options.network))
    if mechanism is not None and case is not None:
        first, stop = span or (0, case.n_steps)
        windows = said.of(lambda: Windows.of(mechanism, case.dt_h, stop - first))
        programs = None if on is None else said.of(lambda: on.programs(mechanism))
    secure = _is(options.ac, SECURE)
    judged = secure or _is(options.ac, VERIFY)
    if opendss is not None and options.ac is None:
        said.say("opendss says on which wires AC is judged: give ac, 'verify' or 'secure'")
    if judged and case is not None:
        said.of(lambda: shared.wires(case, opendss))
    return Asked(
        forecast=forecast,
        measured=options.measurement is not None,
        defer=is_flag(options.defer) and bool(options.defer),
        two=_is(options.tiers, TWO),
        all_wires=opendss is not None,
        secure=secure,
        mechanism=mechanism,
        grid=None if on is None else on.grid,
        programs=programs,
        windows=windows,
    )


def refuse(kind: str, given: object, valid: tuple[str, ...]) -> None:
    """Raise the sentence that names a wrong choice, whatever its type, and the valid ones.

    Raises:
        InputError: always.
    """
    raise unknown(kind, given if isinstance(given, str) else repr(given), valid)


def is_flag(value: object) -> bool:
    """Whether a value is True or False."""
    return isinstance(value, bool | np.bool_)


def _is(value: object, choice: str) -> bool:
    return isinstance(value, str) and value == choice


def _wrong(options: Options) -> list[str]:
    """Options that are wrong by themselves, one sentence each; empty ones are no problem."""
    said = [not_callable(options.progress, "progress")]
    workers = options.workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        said.append(f"workers = {workers!r} must be a whole number of at least 1")
    if not is_flag(options.defer):
        said.append(f"defer = {options.defer!r} must be True or False")
    for kind, given, valid in (("tiers", options.tiers, TIERS), ("ac", options.ac, (VERIFY, SECURE))):
        if not (any(_is(given, choice) for choice in valid) or (kind == "ac" and given is None)):
            said.append(str(unknown(f"choice of {kind}", given if isinstance(given, str) else repr(given), valid)))
    return said


def one_process(mechanism: Mechanism[Any], options: Options) -> str:
    """Why a run cannot be spread over processes; empty where it can."""
    if type(mechanism).advance is not Mechanism.advance:
        return "a state is carried from interval to interval"
    if options.defer:
        return "what waits is carried from interval to interval"
    try:
        pickle.dumps((mechanism, options.solver, options.forecast, options.measurement, options.network))
    except Exception as error:
        return f"the mechanism cannot be sent to other processes ({one_line(error)})"
    return unreachable(type(mechanism))
