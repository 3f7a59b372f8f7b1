"""The game of a network against a program with every limit at once, set by set."""

import pickle

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from tiny import tiny_case

import amm_opt as ao
from amm_opt.grid import Grid


def by_cvxpy(grid: Grid, interval: int, out: list[str], direction: str, counts: str, source: bool) -> float:
    """The most that is served without some participants, with the model's own constraints."""
    requests = grid.case.requests(interval, interval + 1).interval(0)
    x, y = cp.Variable(grid.n, nonneg=True), cp.Variable(grid.n, nonneg=True)
    gone = np.isin(grid.case.participant_names, out)
    most = {"import": requests.import_request_kw, "export": requests.export_request_kw}
    most[direction] = np.where(gone, 0.0, most[direction])
    load, of_import, of_export = grid.case.kvar_per_kw
    fixed = requests.inflexible_kw
    p = grid.incidence @ (y - x - fixed)
    q = grid.incidence @ (
        cp.multiply(of_export, y) - cp.multiply(of_import, x) - load * fixed - grid.case.inflexible_kvar
    )
    lower, upper = map(cp.Constant, grid.limits(requests))
    rules = [x <= most["import"], y <= most["export"], *grid.network.constraints(p, q, lower, upper)]
    rules += [] if source else [cp.sum(x) == cp.sum(y)]
    problem = cp.Problem(cp.Maximize(cp.sum(x if counts == "import" else y)), rules)
    return float(problem.solve(solver=cp.HIGHS))


def every_set(names: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(n for k, n in enumerate(names) if bits >> k & 1) for bits in range(2 ** len(names))]


@pytest.mark.parametrize("scenario", [{}, {"import_scale": 2.0, "capacity_scale": 0.4}])
def test_plants_of_a_meshed_network_serve_what_a_program_with_every_limit_does(scenario: dict[str, float]) -> None:
    case = ao.load_case("ieee14").with_scenario(**scenario)
    players = {n: [n] for n, owns in zip(case.participant_names, case.owns("export"), strict=True) if owns}
    grid = Grid(case, ao.DCFlow(case.feeder))
    game = ao.NetworkGame(case, 0, players, network=grid.network)
    sent = pickle.loads(pickle.dumps(game.at(7)))
    for number, one in ((0, game), (7, game.at(7)), (0, sent.at(0))):
        for here in every_set(game.players):
            out = [p for p in players if p not in here]
            assert one(here) == pytest.approx(by_cvxpy(grid, number, out, "export", "import", False), rel=1e-7)


@pytest.mark.parametrize("phases", [False, True])
def test_feeders_are_hosted_as_a_program_with_every_limit_hosts_them(phases: bool) -> None:
    case = tiny_case(4, phases)
    grid = Grid(case, (ao.LinDist3Flow if phases else ao.LinDistFlow)(case.feeder))
    names = case.participant_names
    players = {f"{a} {b}": [a, b] for a, b in zip(names[:3], names[3:], strict=True)}
    for direction in ("import", "export"):
        sides = {"direction": direction, "counts": direction, "source": True}
        game = ao.NetworkGame(case, 0, players, network=grid.network, **sides)
        for interval in (1, 3):
            game = game.at(interval)
            for here in every_set(game.players):
                out = [name for p, both in players.items() if p not in here for name in both]
                expected = by_cvxpy(grid, interval, out, *sides.values())
                assert game(here) == pytest.approx(expected, rel=1e-7, abs=1e-6)


# hosting


def two_feeders(limit_kw: float) -> ao.Case:
    """A asks for 50 kW of import and offers 20 of export, B 30 and 40; C, on the upper tier, asks for 5."""
    buses = pd.DataFrame({"name": ["src", "mv", "hA", "hB"], "vn_kv": [10.0, 10.0, 0.4, 0.4]})
    buses = buses.assign(v_min_pu=0.9, v_max_pu=1.1, feeder=[None, None, "A", "B"], v_source_pu=[1.0] + [np.nan] * 3)
    ends = {"name": ["head", "tA", "tB"], "from_bus": ["src", "mv", "mv"], "to_bus": ["mv", "hA", "hB"]}
    branches = pd.DataFrame(ends).assign(kind=["line", "transformer", "transformer"], r_ohm=1e-6, x_ohm=1e-6)
    asks = [("a1", "import", 20.0), ("a2", "import", 30.0), ("b", "import", 30.0), ("a1", "export", 20.0)]
    asks += [("b", "export", 40.0), ("c", "import", 5.0)]
    people = pd.DataFrame({"name": ["a1", "a2", "b", "c"], "bus": ["hA", "hA", "hB", "mv"]})
    return ao.from_tables(
        name="two feeders",
        buses=buses,
        branches=branches.assign(rating_kva=[limit_kw, 1e4, 1e4]),
        participants=people.assign(connection_import_kw=1e3, connection_export_kw=1e3),
        profiles=pd.DataFrame({"one": 1.0}, index=pd.date_range("2030-01-07", periods=2, freq="30min")),
        series=pd.DataFrame(
            [(who, what, "one", kw) for who, what, kw in asks],
            columns=["participant", "quantity", "profile", "scale_kw"],
        ),
    )


def test_hosting_by_hand() -> None:
    """With exports all is hosted. Without, a head of 60 kW leaves 55 beside C, who is always there.

    A comes first and adds 50, or after B and adds 60 - 5 - 30 = 25; B adds 30, or 60 - 5 - 50 = 5.
    """
    full = ao.hosting(two_feeders(60.0), 0)
    assert full["shortage_kw"].abs().max() < 1e-9
    case = two_feeders(60.0).with_scenario(export_scale=0.0)
    table = ao.hosting(case, 1)
    expected = {"A": (50 + 25) / 2, "B": (30 + 5) / 2}
    assert table["value_kw"].to_dict() == pytest.approx(expected, rel=1e-6)
    assert table["asked_kw"].to_dict() == {"A": 50.0, "B": 30.0}
    assert table["shortage_kw"].sum() == pytest.approx(80 + 5 - 60)
    assert table["shortage_kw"].is_monotonic_decreasing
    single = ao.hosting(case, 1, by="participant")
    assert set(single.index) == {"a1", "a2", "b", "c"}
    assert single["value_kw"].sum() == pytest.approx(60.0)
    assert single.loc["a2", "value_kw"] == pytest.approx(single.loc["b", "value_kw"])


def test_hosting_of_export_and_bad_input() -> None:
    """20 and 40 kW out through a head of 30, nothing drawn: A (20 + 0) / 2, B (30 + 10) / 2."""
    case = two_feeders(30.0).with_scenario(import_scale=0.0)
    assert ao.hosting(case, 0, direction="export")["value_kw"].to_dict() == pytest.approx(
        {"A": 10.0, "B": 20.0}, rel=1e-6
    )
    with pytest.raises(ao.InputError, match="nobody asks for import"):
        ao.hosting(case, 0)
    with pytest.raises(ao.InputError, match="feeder, participant"):
        ao.hosting(case, 0, by="street")
