"""The game of a network against a program with every limit at once, set by set."""

import pickle

import cvxpy as cp
import numpy as np
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
