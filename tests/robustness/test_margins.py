"""Margins of limits: published factors and counts, the 15-bus feeder, rates on fresh draws, every mechanism."""

from pathlib import Path

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from in_process import amm_opt
from known import feeder15
from streets import random_street

import amm_opt as ao
from amm_opt.margins import LoadErrors, Shift, as_margin, draws_needed
from amm_opt.registry import mechanisms
from amm_opt.testing.cases import rich_case

FACTORS = {
    "gaussian": (1.64485, 1.95996, 2.32635, 2.57583),
    "cantelli": (4.3589, 6.2450, 9.9499, 14.1067),
    "symmetric": (3.1623, 4.4721, 7.0711, 10.0),
    "unimodal": (2.8087, 4.0961, 6.5912, 9.3749),
}
PLANTS = ("g2", "g3")
DEVIATION = 0.0412413


@pytest.mark.parametrize("kind", FACTORS)
def test_factors_are_those_of_their_inequalities(kind: str) -> None:
    found = [ao.Margin(kind, eps=eps).factor(1) for eps in (0.05, 0.025, 0.01, 0.005)]  # type: ignore[arg-type]
    assert found == pytest.approx(FACTORS[kind], rel=2e-5)
    assert ao.Margin(kind, eps=0.05, joint=True).factor(10) == pytest.approx(FACTORS[kind][3], rel=2e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("eps", "beta", "decisions", "count"),
    [
        *((0.05, 1e-6, d, count) for d, count in ((1, 270), (2, 326), (10, 643), (33, 1339))),
        *((0.05, 0.01, d, count) for d, count in ((1, 90), (2, 130), (10, 371), (33, 949))),
        *((0.01, 1e-6, d, count) for d, count in ((1, 1375), (2, 1661), (10, 3260), (33, 6763))),
    ],
)
def test_draws_that_a_scenario_needs(eps: float, beta: float, decisions: int, count: int) -> None:
    assert draws_needed(eps, beta, decisions) == count


def pocket() -> ao.Case:
    """The 15-bus feeder without reactive power, its line to bus 3 limited in active power, two plants of equal size."""
    case = feeder15.case()
    tables = case.tables()
    people = tables["participants"]
    people = people[people["name"].str.startswith("load") | people["name"].isin(PLANTS)].assign(inflexible_kvar=0.0)
    series = tables["series"]
    series = series[series["participant"].isin(people["name"])]
    branches = tables["branches"].assign(rating_kva=1e6)
    line = branches["name"].eq("to 3")
    branches["export_limit_kw"] = np.where(line, 256.0, np.inf)
    return case.with_tables(participants=people, series=series, branches=branches)


@pytest.mark.parametrize(
    ("margin", "each_kw"),
    [
        (None, 114.4),
        ("gaussian:eps=0.05", 80.482),
        ("unimodal:eps=0.05", 56.482),
        ("symmetric:eps=0.05", 49.192),
        ("cantelli:eps=0.05", 24.517),
        ("gaussian:eps=0.05,scale=0.5", 114.4 - 0.5 * 1e3 * 1.644854 * DEVIATION / 2),
    ],
)
@pytest.mark.parametrize("spec", ["leximin", "alpha_fair:alpha=1"])
def test_equal_output_behind_the_line_of_the_15_bus_feeder(spec: str, margin: str | None, each_kw: float) -> None:
    """(256 + 169.7 - 196.9 - factor x 41.24 kW) / 2 of each, with errors of 20 % of every load behind the line."""
    run = ao.simulate(pocket(), spec, steps=1, margin=margin)
    assert run.allocation.export_kw[0][-2:] == pytest.approx([each_kw, each_kw], abs=2e-3)


def test_a_box_takes_every_error_at_once_and_arrays_say_the_same_as_sigma() -> None:
    case, load = pocket(), np.abs(feeder15.D_P[1:11]) * 1e3
    run = ao.simulate(case, "leximin", steps=1, margin="box:sigma=0.2")
    assert run.allocation.export_kw[0, -1] == pytest.approx(114.4 - 0.2 * load.sum() / 2, abs=2e-3)
    inflexible = case.requests(0, 1).inflexible_kw[0]
    covariance = np.diag((0.2 * inflexible) ** 2)
    by_array = ao.simulate(case, "leximin", steps=1, margin=ao.Margin("gaussian", covariance=covariance))
    assert by_array.allocation.export_kw[0, -1] == pytest.approx(80.482, abs=2e-3)
    seen = np.random.default_rng(0).standard_normal((20_000, case.n_participants)) * 0.2 * np.abs(inflexible)
    by_samples = ao.simulate(case, "leximin", steps=1, margin=ao.Margin("gaussian", samples=seen))
    assert by_samples.allocation.export_kw[0, -1] == pytest.approx(80.482, abs=1.0)
    for bias in (-0.05, 0.05):  # load that turns out smaller leaves less room for export, and the other way round
        biased = ao.Margin("gaussian", samples=seen + bias * np.abs(inflexible))
        found = ao.simulate(case, "leximin", steps=1, margin=biased).allocation.export_kw[0, -1]
        assert found - by_samples.allocation.export_kw[0, -1] == pytest.approx(bias * load.sum() / 2, abs=2e-3)
    worst = ao.simulate(case, "leximin", steps=1, margin=ao.Margin("scenario", samples=seen[:300]))
    behind = np.array([int(name.split()[-1]) in range(3, 13) for name in case.participant_names[:-2]])
    lowest = seen[:300][:, :-2][:, behind].sum(axis=1).min()
    assert worst.allocation.export_kw[0, -1] == pytest.approx(114.4 + lowest / 2, abs=2e-3)


def street_with_load(seed: int, phases: bool) -> ao.Case:
    """A random street whose inflexible load leaves room."""
    return random_street(seed, phases).with_scenario(import_scale=1.5, export_scale=1.5)


@pytest.mark.parametrize("phases", [False, True])
def test_a_shift_is_the_spread_of_what_errors_do_on_the_network(phases: bool) -> None:
    """Against the network itself, evaluated at many loads, and not its rows."""
    case = street_with_load(3, phases)
    network = ao.simulate(case, "equal_doe", steps=1).model or (ao.LinDist3Flow if phases else ao.LinDistFlow)(
        case.feeder
    )
    requests, rng = case.requests(0, 1).interval(0), np.random.default_rng(2)
    load = requests.inflexible_kw * (1 + 0.2 * rng.standard_normal((20_000, case.n_participants)))
    incidence = network.incidence(case.bus, case.phases)
    p, q = case.bus_injections(load, 0.0, 0.0, incidence)
    spread = np.asarray(network.evaluate(p, q)).std(axis=0)
    shift, other = Shift(ao.Margin("gaussian", eps=0.05), case, network).of(requests)
    np.testing.assert_array_equal(shift, other)
    np.testing.assert_allclose(shift, 1.644854 * spread, rtol=0.03, atol=1e-9)
    box = LoadErrors(ao.Margin("box"), case, network).largest(requests)
    assert np.all(1.03 * box >= spread)
    assert np.all(box <= np.sqrt(case.n_participants) * 1.1 * spread + 1e-9)


@pytest.mark.parametrize("margin", ["gaussian", "gaussian:eps=0.01", "unimodal", "cantelli", "scenario"])
def test_a_margin_is_kept_on_fresh_draws(margin: str) -> None:
    """Gaussian errors: eps where the margin is exact, less where it covers other distributions too."""
    run = ao.simulate(pocket(), "leximin", steps=1, margin=margin)
    rates = ao.violation_rates(run, draws=40_000, seed=5)
    assert rates.intervals == 1
    eps_pct = 1.0 if "0.01" in margin else 5.0
    if margin.startswith("gaussian"):
        assert rates.binding_pct == pytest.approx(eps_pct, abs=0.35)
    else:
        assert rates.binding_pct < 0.9
    without = ao.violation_rates(ao.simulate(pocket(), "leximin", steps=1), draws=10_000)
    assert without.any_pct == pytest.approx(50.0, abs=2.0)
    assert without.unavoidable_pct == 0.0
    assert without.worst.startswith("to 3 at ")


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("spec", [name for name in mechanisms() if name not in ("dispatch", "lmp_ahead")])
def test_every_mechanism_keeps_shifted_limits(spec: str, balanced: bool) -> None:
    case = rich_case(balanced=balanced)
    if spec == "lifo":
        case = case.with_tables(participants=case.tables()["participants"].assign(connected=2015))
    margin = as_margin("gaussian:eps=0.05,sigma=0.1")
    run = ao.simulate(case, spec, steps=4, margin=margin)
    assert not run.failed_steps
    if not run.mechanism.enforces_limits:
        return
    network = (ao.LinDistFlow if balanced else ao.LinDist3Flow)(case.feeder)
    whole, shift = case.requests(0, 4), Shift(margin, case, network).of(case.requests(0, 4))[0]  # type: ignore[arg-type]
    incidence = network.incidence(case.bus, case.phases)

    def used(import_kw: object, export_kw: object) -> np.ndarray:
        powers = case.bus_injections(whole.inflexible_kw, import_kw, export_kw, incidence)  # type: ignore[arg-type]
        return np.asarray(network.evaluate(*powers))

    alone, q = used(0.0, 0.0), network.quantities
    u = used(run.allocation.drawn_kw, run.allocation.injected_kw)
    slack = 10 * q.tolerance
    assert np.all(u <= np.maximum(q.upper - shift, alone) + slack)
    assert np.all(u >= np.minimum(q.lower + shift, alone) - slack)


def test_runs_with_a_margin_go_on_are_read_again_and_explain_themselves(tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=70,days=1,seed=3").with_scenario(import_scale=2.0)
    spec = "gaussian:eps=0.01,sigma=0.3"
    plain, run = ao.simulate(case, "amm"), ao.simulate(case, "amm", margin=spec, out=tmp_path / "run")
    again = ao.open_run(tmp_path / "run")
    assert str(again.margin) == spec
    assert run.summary["unserved_mwh"] > 1.02 * plain.summary["unserved_mwh"]
    np.testing.assert_array_equal(again.allocation.import_kw, run.allocation.import_kw)
    first, more = run.explain(), again.explain()
    pd.testing.assert_frame_equal(first, more)
    bound = first[first["kind"] != ""]
    assert bound["unserved_mwh"].sum() > 0.9 * run.summary["unserved_mwh"]
    np.testing.assert_array_equal(
        ao.simulate(case, "amm", margin=spec, steps="2030-01-07").allocation.import_kw, run.allocation.import_kw
    )
    with pytest.raises(ao.InputError, match="margin"):
        ao.simulate(case, "amm", margin="gaussian:eps=0.02,sigma=0.3", out=tmp_path / "run", resume=True)
    with pytest.raises(ao.InputError, match="of such a run there is no derivative"):
        run.sensitivity("alpha")
    arrays = ao.Margin("gaussian", covariance=np.eye(case.n_participants))
    ao.simulate(case, "amm", margin=arrays, out=tmp_path / "arrays")
    with pytest.raises(ao.InputError, match="are not kept with the run"):
        ao.open_run(tmp_path / "arrays").explain()


def test_the_smallest_margin_is_the_one_that_is_enough() -> None:
    """On the 15-bus feeder 1 % asks for the quantile 2.32635 of what eps = 5 % takes 1.64485 times."""
    found = ao.smallest_margin(
        pocket(), "leximin", train=1, held_out=1, margin="gaussian:eps=0.05", rate_pct=1.0, draws=40_000
    )
    assert found.margin.scale == pytest.approx(2.32635 / 1.64485, abs=0.05)
    held = found.table[found.table["span"] == "held out"].set_index("scale")
    assert held.loc[found.margin.scale, "any_pct"] == pytest.approx(1.0, abs=0.25)
    assert held.loc[0.0, "any_pct"] == pytest.approx(50.0, abs=2.0)
    with pytest.raises(ao.InputError, match="rate_pct = 0 must be between 0 and 100"):
        ao.smallest_margin(pocket(), "leximin", train=1, held_out=1, rate_pct=0)


def test_ac_secure_leaves_the_margin_beside_losses() -> None:
    """On AC, at the load that was told, a full branch keeps free what errors can use, and not just its rating."""
    case = ao.load_case("synthetic:buses=70,days=1,seed=3").with_scenario(import_scale=2.0)
    run = ao.simulate(case, "amm", margin="gaussian:eps=0.05,sigma=0.3", ac="secure")
    assert not run.failed_steps
    network, requests = ao.LinDistFlow(case.feeder), case.requests(0, case.n_steps)
    shift = Shift(ao.Margin("gaussian", sigma=0.3), case, network).of(requests)[0]
    powers = run.allocation.drawn_kw, run.allocation.injected_kw
    incidence = network.incidence(case.bus, case.phases)
    state = ao.ACNetwork(case.feeder).flow(*case.bus_injections(requests.inflexible_kw, *powers, incidence))
    alone = ao.ACNetwork(case.feeder).flow(*case.bus_injections(requests.inflexible_kw, 0.0, 0.0, incidence))
    q = network.quantities
    nearest = np.inf
    for k, (flows, load) in enumerate(zip(state.rated_flows, alone.rated_flows, strict=True)):
        u = network.limited(state.v_pu, *flows, state.p_sent_kw)
        without = network.limited(alone.v_pu, *load, alone.p_sent_kw)
        assert np.all(u <= np.maximum(q.upper - shift, without) + 10 * q.tolerance), k
        room = (q.upper - shift - u)[:, q.kind == "thermal"]
        nearest = min(nearest, float(room[np.isfinite(room)].min()))
    assert run.summary["unserved_mwh"] > 0
    assert nearest < 0.03


def test_bad_margins_are_named() -> None:
    for spec, said in (
        ("gauss", "unknown margin 'gauss'"),
        ("gaussian:eps=0", "eps = 0 must be between 0 and 1"),
        ("gaussian:eps=1.5", "eps = 1.5 must be between 0 and 1"),
        ("unimodal:eps=0.3", "eps = 0.3 must be at most 0.167"),
        ("gaussian:sigma=-1", "sigma = -1 must not be negative"),
        ("scenario:draws=100", "100 draws are too few for scenario:draws=100, which needs 270"),
        ("gaussian:alpha=1", "unknown parameter of margin gaussian 'alpha'"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.simulate(pocket(), "leximin", margin=spec)
    for given, said in (
        (
            {"covariance": [[1.0, 2.0], [2.0, 1.0]]},
            "covariance is not positive semidefinite: its lowest eigenvalue is -1",
        ),
        ({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, "must be square and symmetric"),
        ({"samples": [[1.0, 2.0]]}, r"samples of shape \(1, 2\) must be at least 2"),
        ({"samples": np.zeros((0, 2))}, "must be at least 2"),
        ({"samples": [[np.nan]]}, "must be a table of finite numbers"),
        ({"samples": [[1.0]], "covariance": [[1.0]]}, "give covariance or samples, not both"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.Margin("gaussian", **given)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="is not of the 16 participants"):
        ao.simulate(pocket(), "leximin", margin=ao.Margin("gaussian", covariance=np.eye(3)))
    with pytest.raises(ao.InputError, match="a margin shifts linear limits"):
        ao.simulate(pocket(), "leximin", margin="gaussian", network="socp")
    with pytest.raises(ao.InputError, match="give one tier"):
        ao.simulate("synthetic:buses=70,days=1,seed=3", "amm", margin="gaussian", tiers="two")


def test_the_command_line_takes_a_margin() -> None:
    asked = ["run", "synthetic:buses=40,days=1,seed=3", "--mechanism", "amm", "--steps", "4", "--margin"]
    bad = amm_opt(*asked, "gaussian:eps=2")
    assert bad.returncode == 2
    assert "eps = 2 must be between 0 and 1" in bad.stderr
    assert amm_opt(*asked, "gaussian").returncode == 0


# chance constraints with devices that respond: the published values, from the product's rows of the network


def published(kind: str) -> tuple[float, np.ndarray]:
    """Objective and output of g1, g7, g12 of Mieth and Dvorkin, arXiv 1905.07526, section 4.2 of their supplement."""
    network = feeder15.TwelveSides(feeder15.case().feeder)
    q = network.quantities
    a_p, a_q, constant = network.rows(np.arange(len(q.lower)))
    names = list(feeder15.case().feeder.bus_names)
    at = [names.index(str(bus)) for bus in feeder15.BUS]
    sigma = 0.2 * np.abs(feeder15.D_P)
    s = float(np.sqrt((sigma**2).sum()))
    p, kvar, alpha = cp.Variable(3, nonneg=True), cp.Variable(3), cp.Variable(3, nonneg=True)
    place = np.zeros((len(names), 3))
    for k, bus in enumerate(("1", "7", "12")):
        place[names.index(bus), k] = 1.0
    load = np.zeros((2, len(names)))
    load[0, at], load[1, at] = feeder15.D_P, feeder15.D_Q
    u = a_p @ (1e3 * (place @ p - load[0])) + a_q @ (1e3 * (place @ kvar - load[1])) + constant
    limits = [cp.abs(kvar[1:]) <= 0.4, p[1:] <= 0.8, cp.sum(p) == feeder15.D_P.sum(), cp.sum(alpha) == 1]
    root = np.sqrt(5.0)
    cost = 50 * p[0] + 10 * cp.sum(p[1:])
    if kind == "deterministic":
        cost += s * cp.norm(root * p[1:])
        return _solved(cost, [*limits, u <= q.upper, u >= q.lower], p)
    cost += cp.norm(root * p[1:]) + cp.norm(cp.hstack([20 * alpha[0], root * alpha[1:]]))
    limits += [p[1:] - 1.945 * s * alpha[1:] >= 0, p[1:] + 1.945 * s * alpha[1:] <= 0.8]
    band = q.kind == "voltage"
    shift: cp.Expression | np.ndarray = np.zeros(int(band.sum()))
    if kind == "voltages":
        resistance = a_p[band][:, at] * 1e3 / 2.0
        of_plants = a_p[band] @ place * 1e3 / 2.0
        rho = of_plants @ alpha
        rows = [cp.norm(cp.multiply(sigma, resistance[i] + rho[i])) for i in range(len(resistance))]
        shift = 2 * 2.576 * cp.hstack(rows)
    limits += [u[~band] <= q.upper[~band], u[~band] >= q.lower[~band]]
    limits += [u[band] + shift <= q.upper[band], u[band] - shift >= q.lower[band]]
    return _solved(cost, limits, p)


def _solved(cost: cp.Expression, limits: list[cp.Constraint], p: cp.Variable) -> tuple[float, np.ndarray]:
    problem = cp.Problem(cp.Minimize(cost), limits)
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value), np.asarray(p.value)


@pytest.mark.parametrize(
    ("kind", "objective", "g1"),
    [("deterministic", 61.5275, 1.1833), ("plants", 70.4343, 1.1833), ("voltages", 71.7329, 1.1981)],
)
def test_published_values_under_uncertainty_from_our_rows(kind: str, objective: float, g1: float) -> None:
    found, p = published(kind)
    assert found == pytest.approx(objective, abs=2e-3)
    assert p[0] == pytest.approx(g1, abs=2e-4)
