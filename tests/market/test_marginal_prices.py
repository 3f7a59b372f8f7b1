"""Prices by parts: published values, closed forms, another program's multipliers, finite differences, by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from in_process import amm_opt
from known import feeder15
from streets import random_street

import amm_opt as ao
from amm_opt.network import marginal_losses
from amm_opt.testing.cases import rich_case, small_case
from formulations import LMP

DIRECT = {"solver": cp.CLARABEL, "tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}


def bidding(case: ao.Case, seed: int) -> ao.Case:
    """The case with random bids and slopes, and scarce in both directions in its first interval."""
    rng, people = np.random.default_rng(seed), case.tables()["participants"]
    n = len(people)
    people[["connection_import_kw", "connection_export_kw"]] = 300.0
    people = people.assign(
        import_value=rng.uniform(0.3, 1.0, n),
        import_value_slope=rng.uniform(0.002, 0.01, n),
        export_offer=rng.uniform(0.0, 0.2, n),
        export_offer_slope=rng.uniform(0.002, 0.01, n),
    )
    profiles = case.tables()["profiles"].iloc[:2]
    if "night" in profiles:
        profiles = profiles.assign(night=3.0, noon=0.3) if seed % 2 else profiles.assign(night=0.2, noon=4.0)
    return case.with_tables(participants=people, profiles=profiles)


def street(seed: int, phases: bool) -> ao.Case:
    """A random street with random bids, whose limits bind."""
    return bidding(random_street(seed, phases), seed).with_scenario(import_scale=1.5, export_scale=1.5)


def meshed(import_scale: float) -> ao.Case:
    """The IEEE 14-bus system with more load, whose worth falls and differs.

    Branches to bus 7 from 4 and on to 9 carry the same: with one limit for both its price would not be unique.
    """
    case = ao.load_case("ieee14").with_scenario(import_scale=import_scale, limits={"branch 20": 90e3})
    people = case.tables()["participants"]
    falling = people["import_value"].notna()
    people["import_value"] = people["import_value"].where(~falling, 0.2 + 0.01 * np.arange(len(people)))
    return case.with_tables(participants=people.assign(import_value_slope=np.where(falling, 1e-6, 0.0)))


CASES: dict[str, Callable[[int], ao.Case]] = {
    "balanced": lambda seed: bidding(rich_case(balanced=True), seed),
    "phases": lambda seed: bidding(rich_case(balanced=False), seed),
    "street": lambda seed: street(seed, phases=False),
    "street on phases": lambda seed: street(seed, phases=True),
    "ieee14": lambda seed: meshed(1.8 + 0.1 * seed),
}
SOURCE = dict.fromkeys(CASES, 0.25) | {"ieee14": 0.03}


def multipliers(case: ao.Case, source_price: float) -> np.ndarray:
    """(n,) multipliers of consumption, of the clearing written with the network's own equations and another solver."""
    grid = ao.Grid(
        case,
        (ao.DCFlow if case.feeder.meshed else ao.LinDistFlow if case.feeder.balanced else ao.LinDist3Flow)(case.feeder),
    )
    requests = case.requests(0, 1).interval(0)
    (value, offer), (fall, rise) = LMP(source_price=source_price).bids(case)
    x, y, more = cp.Variable(grid.n), cp.Variable(grid.n), cp.Variable(grid.n)
    balance = more == 0.0
    p, q = grid.bus_power(grid.injection(import_kw=x + more, export_kw=y))
    for parameter in grid.parameters:
        parameter.value = getattr(requests, parameter.name())
    lower, upper = grid.limits(requests)
    worth = value @ x - 0.5 * fall @ x**2 - offer @ y - 0.5 * rise @ y**2
    drawn = cp.sum(x) + cp.sum(more) - cp.sum(y)
    limits = [balance, x >= 0, x <= grid.import_request_kw, y >= 0, y <= grid.export_request_kw]
    problem = cp.Problem(
        cp.Minimize(source_price * drawn - worth), [*limits, *grid.network.constraints(p, q, lower, upper)]
    )
    problem.solve(**DIRECT)
    assert problem.status == cp.OPTIMAL
    return -np.asarray(balance.dual_value)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", CASES)
def test_parts_add_up_to_the_multiplier_of_consumption(kind: str, seed: int) -> None:
    case = CASES[kind](seed)
    parts = ao.price_parts(case, LMP(source_price=SOURCE[kind]), 0)
    assert len(parts.limits)
    assert parts.prices.price[0] == pytest.approx(multipliers(case, SOURCE[kind]), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_parts_by_hand_on_a_radial_feeder(seed: int) -> None:
    """Congestion adds up along the path; voltage is 2 R of the common path times the multipliers, in pu and kW."""
    case = CASES["balanced"](seed)
    people = case.tables()["participants"].assign(power_factor_import=1.0)
    case = case.with_tables(participants=people)
    parts = ao.price_parts(case, LMP(), 0)
    branches = case.feeder.tables.branches.set_index("to_bus")
    above = branches["from_bus"].to_dict()

    def path(bus: str) -> list[str]:
        """Buses from this one to the source, without it; each names the branch that feeds it."""
        return [] if bus == "source" else [bus, *path(above[bus])]

    congestion, voltage = np.zeros(case.n_participants), np.zeros(case.n_participants)
    network = ao.LinDistFlow(case.feeder)
    for k, mu in zip(parts.prices.rows, parts.prices.signed_mu, strict=True):
        element = int(network.quantities.element[k])
        name = case.feeder.bus_names[element]
        for i, bus in enumerate(case.participants["bus"]):
            common = [b for b in path(bus) if b in path(name)]
            if network.quantities.kind[k] == "voltage":
                gain = {b: branches.loc[b, "tap"] ** -2 for b in path(name)}
                r = 0.0
                for b in common:  # squared voltage drops here, and ratios below make it larger or smaller
                    kv = case.feeder.vn_kv[case.feeder.bus_index[b]]
                    below = path(name)[: path(name).index(b)]
                    r += branches.loc[b, "z_ohm"][0, 0].real / (1000.0 * kv**2) * np.prod([gain[c] for c in below])
                voltage[i] -= 2.0 * mu * r
            elif name in path(bus):
                of_kind = np.flatnonzero(
                    (network.quantities.kind == "thermal") & (network.quantities.element == element)
                )
                angle = (2 * int(np.searchsorted(of_kind, k)) + 1) * np.pi / 16  # edges are 22.5 degrees apart
                edge = np.cos(angle) / np.cos(np.pi / 16) / branches.loc[name, "rating_kva"]
                limits = [case.feeder.import_limit_kw[element], case.feeder.export_limit_kw[element]]
                active = (
                    1.0 / max(v for v in (*limits, 0.0) if np.isfinite(v))
                    if network.quantities.kind[k] == "active"
                    else 0.0
                )
                congestion[i] += mu * (active or edge)
    table = parts.participants[parts.participants["direction"] == "import"]
    assert table["congestion"].to_numpy() == pytest.approx(congestion, abs=1e-9)
    assert (table["voltage_upper"] + table["voltage_lower"]).to_numpy() == pytest.approx(voltage, abs=1e-9)
    assert table["price"].to_numpy() == pytest.approx(0.25 + congestion + voltage, abs=1e-9)


def test_prices_of_the_15_bus_feeder() -> None:
    """Recomputed from the supplement's data; lines to 3 and 4 carry the same, so how they share is not unique."""
    parts = feeder15.priced()
    assert feeder15.objective(parts) == pytest.approx(61.58387, abs=1e-5)
    table = 1e3 * parts.participants.set_index("participant").iloc[:14].drop(columns=["bus", "direction"]).astype(float)
    assert (table["energy"] == 50.0).all()
    assert table["congestion"]["load 4":"load 12"].to_numpy() == pytest.approx(-38.856, abs=1e-4)
    assert table["price"][["load 2", "load 13", "load 14", "load 15"]].to_numpy() == pytest.approx(50.0, abs=1e-9)
    assert -38.856 < table["congestion"]["load 3"] < 0.0
    assert not table[["voltage_upper", "voltage_lower", "losses"]].to_numpy().any()


def test_voltage_parts_of_the_15_bus_feeder() -> None:
    parts = feeder15.priced(v_max=1.01)
    assert feeder15.objective(parts) == pytest.approx(62.36020, abs=1e-5)
    table = 1e3 * parts.participants.set_index("participant").iloc[:14].drop(columns=["bus", "direction"]).astype(float)
    published = {2: -0.0189, 3: -1.6893, 4: -4.3073, 5: -4.4245, 6: -4.5318, 7: -4.8274, 8: -5.4962, 9: -4.8276}
    published |= dict.fromkeys((10, 11, 12), -4.8276)
    for bus, voltage in published.items():
        assert table["voltage_upper"][f"load {bus}"] == pytest.approx(voltage, abs=1e-4)
    assert table["congestion"]["load 4":"load 12"].to_numpy() == pytest.approx(-34.1283, abs=1e-4)
    assert table["price"]["load 12"] == pytest.approx(50.0 - 34.1283 - 4.8276, abs=2e-4)
    for bus in (4, 7, 12, 14):
        up, down = ({bus: step} for step in (1e-3, -1e-3))
        slope = feeder15.objective(feeder15.priced(1.01, up), up) - feeder15.objective(
            feeder15.priced(1.01, down), down
        )
        assert slope / 2e-3 == pytest.approx(table["price"][f"load {bus}"], abs=1e-4)


@dataclass(frozen=True)
class Kelly(ao.Mechanism[ao.State]):
    """w_i x^(1 - alpha) / (1 - alpha) for w = 1, 2, 3; no request binds."""

    name = "kelly"
    alpha: float = 1.0

    def program(self, grid: ao.Grid) -> ao.Program:
        x, w = cp.Variable(grid.n), np.array([1.0, 2.0, 3.0])
        u = cp.log(x) if self.alpha == 1 else cp.power(x, 1 - self.alpha) / (1 - self.alpha)
        within = [x >= 1e-3, x <= grid.import_request_kw]
        return ao.Program(cp.Maximize(w @ u), within, [grid.injection(import_kw=x)], {"import": x, "export": 0.0 * x})


def shared(root_kw: float, child_kw: float, requests_kw: tuple[float, float, float]) -> ao.Case:
    """Participants a and b behind a branch, c beside them, all behind another one."""
    buses = pd.DataFrame({"name": ["source", "mid", "end"], "vn_kv": 10.0, "v_min_pu": 0.5, "v_max_pu": 1.5})
    buses["v_source_pu"] = [1.0, np.nan, np.nan]
    branches = pd.DataFrame({"name": ["root", "child"], "from_bus": ["source", "mid"], "to_bus": ["mid", "end"]})
    branches = branches.assign(r_ohm=0.01, x_ohm=0.01, rating_kva=[root_kw, child_kw])
    people = pd.DataFrame({"name": list("abc"), "bus": ["end", "end", "mid"], "connection_import_kw": 100.0})
    times = pd.date_range("2030-01-01", periods=2, freq="1h")
    series = pd.DataFrame({"participant": list("abc"), "quantity": "import", "profile": "one", "scale_kw": requests_kw})
    profiles = pd.DataFrame({"time": times, "one": 1.0})
    return ao.from_tables(
        name="shared", buses=buses, branches=branches, participants=people, profiles=profiles, series=series
    )


@pytest.mark.parametrize(
    ("alpha", "x", "price"),
    [
        (0.5, (0.857143, 3.428571, 7.714286), 1.080123),
        (1.0, (2.0, 4.0, 6.0), 0.5),
        (2.0, (2.894171, 4.092977, 5.012852), 0.1193855),
    ],
)
def test_kelly_prices_in_closed_form(alpha: float, x: tuple[float, ...], price: float) -> None:
    """x_i = C w_i^(1/alpha) / sum of these, price (sum / C)^alpha, for C = 12 (Kelly, Maulloo and Tan 1998)."""
    parts = ao.price_parts(shared(12.0, np.inf, (50.0, 50.0, 50.0)), Kelly(alpha), 0)
    assert parts.solution["import"] == pytest.approx(x, rel=1e-5)
    assert parts.prices.price[0] == pytest.approx(price, rel=1e-5)
    assert parts.of("a").to_dict() == pytest.approx({"root (thermal, import)": price}, rel=1e-5)


def test_kelly_prices_of_nested_limits_add_up_along_the_path() -> None:
    parts = ao.price_parts(shared(12.0, 3.0, (50.0, 50.0, 50.0)), Kelly(1.0), 0)
    assert parts.solution["import"] == pytest.approx((1.0, 2.0, 9.0), rel=1e-5)
    assert parts.of("a").to_dict() == pytest.approx(
        {"root (thermal, import)": 1 / 3, "child (thermal, import)": 2 / 3}, rel=1e-4
    )
    assert parts.of("c").to_dict() == pytest.approx({"root (thermal, import)": 1 / 3}, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_kelly_prices_of_served_ratios(alpha: float) -> None:
    """k_i = r_i (w_i / r_i)^(1/alpha): price (sum k / C)^alpha, which is (sum r / C)^alpha where w = r."""
    case, r = shared(9.0, np.inf, (4.0, 8.0, 12.0)), np.array([4.0, 8.0, 12.0])
    parts = ao.price_parts(case, f"alpha_fair:alpha={alpha}", 0)
    assert parts.solution["import"] == pytest.approx((1.5, 3.0, 4.5), rel=1e-6)
    assert parts.prices.price[0] == pytest.approx((24.0 / 9.0) ** alpha, rel=1e-6)
    equal = ao.price_parts(case, f"alpha_fair:alpha={alpha},weight=equal", 0)
    k = r * (1.0 / r) ** (1.0 / alpha)
    if np.all(9.0 * k / k.sum() <= r):
        assert equal.prices.price[0] == pytest.approx((k.sum() / 9.0) ** alpha, rel=1e-6)


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_marginal_losses_are_slopes_of_an_ac_power_flow(balanced: bool) -> None:
    """Of power-grid-model, by central differences of 0.05 kW; charging, a tap, a shunt and a delta winding included."""
    case = rich_case(balanced)
    network = (ao.LinDistFlow if balanced else ao.LinDist3Flow)(case.feeder)
    requests = case.requests(0, 16)
    power = (requests.inflexible_kw, 0.3 * requests.import_request_kw, 0.3 * requests.export_request_kw)
    p, q = (a[6] for a in case.bus_injections(*power, network.incidence(case.bus, case.phases)))
    ac, step = ao.ACNetwork(case.feeder), 0.05
    head = np.flatnonzero(case.feeder.parent[network.bus] == 0)
    nodes = [j for j in range(len(p)) if network.bus[j] > 0][::2]
    bumps = np.stack([s * step * (np.arange(len(p)) == j) for j in nodes for s in (-1.0, 1.0)])
    per_kw, per_kvar, losses = marginal_losses(case.feeder).at(p, q)
    for found, flow in ((per_kw, ac.flow(p + bumps, q + 0.0 * bumps)), (per_kvar, ac.flow(p + 0.0 * bumps, q + bumps))):
        sent = flow.p_sent_kw[:, head].sum(axis=1).reshape(-1, 2)
        own = 1.0 if found is per_kw else 0.0
        assert (sent[:, 0] - sent[:, 1]) / (2 * step) - own == pytest.approx(found[nodes], abs=2e-6)
    assert losses == pytest.approx(float(ac.flow(p, q).p_sent_kw[head].sum() + p.sum()), abs=1e-6)
    assert per_kw.max() > 0.01


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_losses_are_a_part_of_prices(balanced: bool) -> None:
    """Where nothing binds, a price is the source's times 1 + the marginal losses at the operating point."""
    case = small_case(balanced).with_scenario(capacity_scale=3.0, import_scale=0.3, export_scale=0.3)
    people = case.tables()["participants"].assign(power_factor_import=1.0)
    case = case.with_tables(participants=people)
    for step in (4, 7):  # noon and midnight
        with_losses = ao.price_parts(case, LMP(losses=True), step)
        assert with_losses.limits.empty
        network = (ao.LinDistFlow if balanced else ao.LinDist3Flow)(case.feeder)
        grid, served = ao.Grid(case, network), with_losses.solution
        at = grid.injected(case.requests(step, step + 1).interval(0), served["import"], served["export"])
        expected = 0.25 * grid.at_participants(marginal_losses(case.feeder).at(*at)[0])
        assert with_losses.prices.losses[0] == pytest.approx(expected, abs=1e-7)
        assert with_losses.prices.price[0] == pytest.approx(0.25 + expected, abs=1e-7)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("losses", [False, True], ids=["", "losses"])
def test_surplus_is_energy_and_rents(kind: str, losses: bool) -> None:
    """What is paid, less what is paid out, is energy from the source, rent of limits and marginal losses."""
    if losses and kind == "ieee14":
        return
    for seed in range(2):
        case = CASES[kind](seed)
        parts = ao.price_parts(case, LMP(source_price=SOURCE[kind], losses=losses), 0)
        x, y, price = parts.solution["import"], parts.solution["export"], parts.prices.price
        paid = price[0] @ x - price[1] @ y
        extra = parts.prices.losses[0] @ x - parts.prices.losses[1] @ y
        rent = parts.limits["rent"].sum()
        assert abs(rent) > 0.01
        assert paid == pytest.approx(SOURCE[kind] * (x.sum() - y.sum()) + rent + extra, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fot", 0), "looks ahead"),
        (("leximin", 0), "raises the worst-off first"),
        (("no_control", 0), "solves no program"),
        (("lmp", 16), "step = 16 must be a whole number from 0 to 15"),
        (("lmp", 0.5), "step = 0.5 must be a whole number"),
    ],
)
def test_what_has_no_price_is_refused(arguments: tuple[str, int], sentence: str) -> None:
    with pytest.raises(ao.InputError, match=sentence):
        ao.price_parts(small_case(balanced=True), *arguments)


def test_refusals_of_names_networks_and_losses() -> None:
    case = small_case(balanced=True)
    parts = ao.price_parts(case, "lmp", 0)
    with pytest.raises(ao.InputError, match="unknown participant 'p99'"):
        parts.of("p99")
    with pytest.raises(ao.InputError, match="direction = 'up'; valid choices: import, export"):
        parts.of("p1", "up")
    with pytest.raises(ao.InputError, match="prices are read from linear limits"):
        ao.price_parts(case, "alpha_fair", 0, network="socp")
    with pytest.raises(ao.InputError, match="give a source_price"):
        LMP(losses=True, source_price=None)
    with pytest.raises(ao.InputError, match="marginal losses are those of radial networks"):
        ao.simulate("three_bus", LMP(losses=True))


def test_one_price_by_source() -> None:
    """Its parts are in the table, and add up to the price."""
    case = CASES["balanced"](1)
    parts = ao.price_parts(case, "lmp:losses=true", 0)
    for direction, row in (("import", 0), ("export", 1)):
        own = parts.of("p3", direction)
        assert own.sum() == pytest.approx(parts.prices.price[row, 3])
        assert set(own.index) > {"energy", "losses"}
    assert not parts.limits[["limit", "kind", "direction"]].duplicated().any()


def test_command_says_published_prices_and_bad_input(tmp_path: Path) -> None:
    asked = ("pjm5", "--mechanism", "lmp:source_price=none", "--at", "2030-01-07 00:00")
    told = amm_opt("price-parts", *asked, "--json", "--csv", str(tmp_path / "prices.csv"))
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    published = {f"bus {k}": p / 1000 for k, p in enumerate((16.9774, 26.3845, 30.0, 39.9427, 10.0), start=1)}
    for row in found["participants"]:
        assert row["price"] == pytest.approx(published[row["bus"]], abs=1e-7)
    assert [limit["limit"] for limit in found["limits"]] == ["line 4-5"]
    assert pd.read_csv(tmp_path / "prices.csv")["price"].max() == pytest.approx(0.0399427, abs=1e-7)
    shown = amm_opt("price-parts", *asked)
    assert "0.02638" in shown.stdout
    assert "line 4-5" in shown.stdout
    bad = amm_opt("price-parts", "pjm5", "--mechanism", "lpm", "--at", "2031-01-07 00:00")
    assert bad.returncode == 2
    assert "2 problems" in bad.stderr
    assert "unknown mechanism 'lpm'" in bad.stderr
    assert "2031-01-07 00:00" in bad.stderr
