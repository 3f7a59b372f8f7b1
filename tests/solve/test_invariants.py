"""What holds for every mechanism, with memory, sessions that wait and batteries, on balanced feeders and on phases."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from small import shuffled
from tiny import DT, MECHANISMS, tiny_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.market import State
from amm_opt.registry import mechanism
from amm_opt.simulation.loop import loop
from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.waiting import Backlog, Sessions

POWERS = ("import_kw", "export_kw", "import_price", "export_price", "battery_kw")
STEPS = 8
everywhere = pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
every_mechanism = pytest.mark.parametrize("spec", MECHANISMS)


@lru_cache(maxsize=2)
def case_on(phases: bool) -> Case:
    return tiny_case(11, phases, steps=STEPS, sessions=True, batteries=True)


@lru_cache(maxsize=64)
def run_of(spec: str, phases: bool) -> ao.Run:
    return ao.simulate(case_on(phases), spec, defer=True)


def assert_same(one: ao.Run, other: ao.Run, atol: float, at: Any = slice(None)) -> None:
    """The same allocations and prices; ``at``: where the participants of ``one`` are in ``other``."""
    for name in POWERS:
        ours, theirs = getattr(one.allocation, name), getattr(other.allocation, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_allclose(theirs[:, at], ours, atol=atol, err_msg=name)


@everywhere
@every_mechanism
def test_limits_and_requests_are_kept(spec: str, phases: bool) -> None:
    """Nobody gets more than it asks for, and mechanisms that promise to keep limits do."""
    run, made = run_of(spec, phases), mechanism(spec)
    assert not run.failed_steps
    a = run.allocation
    assert np.all(a.import_kw >= 0)
    assert np.all(a.export_kw >= 0)
    assert np.all(a.export_kw <= run.requests.export_request_kw)
    if made.enforces_limits and not (phases and made.feasible_at_limits_only):
        assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    free = ao.simulate(case_on(phases), spec)
    assert np.all(free.allocation.import_kw <= free.requests.import_request_kw)


@everywhere
@every_mechanism
def test_no_energy_is_lost_or_made(spec: str, phases: bool) -> None:
    """Import is what series and sessions got; what a session did not get, it departed without or still waits for."""
    case, run = case_on(phases), run_of(spec, phases)
    sessions = Sessions(case)
    firm = sessions.firm(case.requests(0, STEPS)).import_request_kw
    lacking = np.zeros(case.n_participants)
    for part in (run.backlog, run.departed):
        assert part is not None
        np.add.at(lacking, sessions.participant[part.session], part.left_kwh)
    asked = np.bincount(sessions.participant, sessions.energy_kwh, case.n_participants)
    served = run.allocation.import_kw
    to_series = np.minimum(served, firm)
    whole = served.sum(axis=0) * DT + lacking
    assert np.all(whole <= asked + firm.sum(axis=0) * DT + 1e-9)
    assert np.all(whole >= asked + to_series.sum(axis=0) * DT - 1e-9)
    if run.allocation.battery_kw is not None:
        b, stored = case.batteries, run.state.arrays()["stored_kwh"][case.batteries.participant]
        p = run.allocation.battery_kw[:, b.participant]
        gained = DT * (b.efficiency * np.maximum(-p, 0) - np.maximum(p, 0) / b.efficiency).sum(axis=0)
        np.testing.assert_allclose(stored, b.initial_kwh + gained, atol=1e-9)
        assert np.all((stored >= -1e-6) & (stored <= b.size_kwh + 1e-6))


@everywhere
@every_mechanism
def test_order_of_participants_does_not_matter(spec: str, phases: bool) -> None:
    case, run = case_on(phases), run_of(spec, phases)
    other = shuffled(case, 5)
    at = [other.participant_names.index(name) for name in case.participant_names]
    assert_same(run, ao.simulate(other, spec, defer=True), 2e-5, at)


@everywhere
@every_mechanism
def test_a_run_can_be_resumed_from_what_it_carries(spec: str, phases: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one window, and between them state and backlog through a text."""
    whole, original = run_of(spec, phases), Loop.run_block

    def restored(item: State) -> State:
        text = json.dumps({name: a.tolist() for name, a in item.arrays().items()})
        return type(item).from_arrays({name: np.array(a) for name, a in json.loads(text).items()})

    def run_block(of: Loop, start: int, stop: int, state: State, backlog: Any, held: State | None) -> Any:
        again = backlog if backlog is None else restored(backlog)
        assert again is None or isinstance(again, Backlog)
        return original(of, start, stop, restored(state), again, held)

    monkeypatch.setattr(Loop, "run_block", run_block)
    monkeypatch.setattr(loop, "BLOCK_STEPS", 1)
    pieces = ao.simulate(case_on(phases), spec, defer=True)
    assert_same(whole, pieces, 1e-5)
    for name, values in whole.state.arrays().items():
        np.testing.assert_allclose(pieces.state.arrays()[name], values, atol=1e-5)
    assert whole.departed is not None
    assert pieces.departed is not None
    np.testing.assert_array_equal(np.sort(pieces.departed.session), np.sort(whole.departed.session))
