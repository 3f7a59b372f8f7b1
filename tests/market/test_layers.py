"""Layers: which limit belongs to which area, who inherits it, and uniform, zonal and nodal prices as special cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import amm_opt
from small import TRACE, shuffled

import amm_opt as ao
from amm_opt.market import areas_of, deficits
from amm_opt.network import Layers
from amm_opt.study.cli import main
from formulations import AMM

NAN = float("nan")
# bus: (bus above, rating in kVA, tier, LV feeder)
BUSES = {
    "bb": ("src", 1000.0, "MV", None),
    "a1": ("bb", 1000.0, "MV", None),
    "a2": ("a1", 1000.0, "MV", None),
    "b1": ("bb", 1000.0, "MV", None),
    "la": ("a1", 1000.0, "LV", "A"),
    "la-end": ("la", 1000.0, "LV", "A"),
    "lb": ("a2", 1000.0, "LV", "B"),
    "lc": ("b1", 1000.0, "LV", "C"),
}
PEOPLE = ("la", "la-end", "lb", "lc")
ASKED = (30.0, 20.0, 30.0, 20.0)


def town(
    ratings: dict[str, float] | None = None,
    imports: Any = ASKED,
    exports: Any = (0.0,) * 4,
    *,
    meshed: bool = False,
    phases: str = "pos",
    r_ohm: float = TRACE,
    **more: Any,
) -> ao.Case:
    """Two MV feeders behind a busbar: LV feeders A and B on one, C on the other; only ``ratings`` bind."""
    buses = pd.DataFrame(
        {
            "name": ["src", *BUSES],
            "vn_kv": 0.4,
            "v_min_pu": 0.9,
            "v_max_pu": 1.1,
            "tier": ["MV", *(tier for _, _, tier, _ in BUSES.values())],
            "feeder": [None, *(f for *_, f in BUSES.values())],
            "v_source_pu": [1.0] + [NAN] * len(BUSES),
            "phases": phases,
        }
    )
    z = " | ".join([f"{r_ohm}", f"0 {r_ohm}", f"0 0 {r_ohm}"][: len(phases)]) if phases != "pos" else r_ohm
    lines = [
        (f"to-{b}", above, b, z, z, {**ratings}.get(b, s) if ratings else s) for b, (above, s, *_) in BUSES.items()
    ]
    if meshed:
        lines.append(("tie", "a2", "b1", z, z, 1000.0))
    powers = {"import": np.atleast_2d(imports), "export": np.atleast_2d(exports)}
    steps = max(2, *(len(p) for p in powers.values()))
    profiles: dict[str, Any] = {"time": pd.date_range("2030-01-07", periods=steps, freq="30min")}
    series = []
    for quantity, power in powers.items():
        for i in range(len(PEOPLE)):
            profiles[f"{quantity}-{i}"] = np.broadcast_to(power, (steps, 4))[:, i]
            series.append((f"p{i}", quantity, f"{quantity}-{i}", 1.0))
    columns = ["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "rating_kva"]
    return ao.from_tables(
        name="town",
        buses=buses,
        branches=pd.DataFrame(lines, columns=columns).assign(phases=phases),
        participants=pd.DataFrame(
            {
                "name": [f"p{i}" for i in range(4)],
                "bus": PEOPLE,
                "connection_import_kw": 500,
                "connection_export_kw": 500,
            }
        ),
        profiles=pd.DataFrame(profiles),
        series=pd.DataFrame(series, columns=["participant", "quantity", "profile", "scale_kw"]),
        meshed=meshed,
        **more,
    )


def by_name(case: ao.Case) -> dict[str, tuple[str, str]]:
    """Layer and area of every branch, and of every voltage band as ``v:BUS``."""
    layers, f = case.layers, case.feeder
    said = {f.branch_names[b]: a for b, a in enumerate(layers.of_branch.tolist()) if b}
    said |= {f"v:{f.bus_names[k]}": a for k, a in enumerate(layers.of_band.tolist())}
    return {name: (layers.names[layers.layer[a]], layers.areas[a]) for name, a in said.items()}


def test_every_limit_belongs_to_the_smallest_area_that_holds_what_is_behind_it() -> None:
    assert by_name(town()) == {
        "to-bb": ("system", "system"),
        "to-a1": ("mv_feeder", "to-a1"),
        "to-a2": ("section", "to-a2"),
        "to-b1": ("mv_feeder", "to-b1"),
        "to-la": ("feeder", "A"),
        "to-la-end": ("node", "la-end"),
        "to-lb": ("feeder", "B"),
        "to-lc": ("feeder", "C"),
        "v:src": ("system", "system"),
        "v:bb": ("system", "system"),
        "v:a1": ("mv_feeder", "to-a1"),
        "v:a2": ("section", "to-a2"),
        "v:b1": ("mv_feeder", "to-b1"),
        "v:la": ("feeder", "A"),
        "v:la-end": ("feeder", "A"),
        "v:lb": ("feeder", "B"),
        "v:lc": ("feeder", "C"),
    }


@pytest.mark.parametrize("phases", ["pos", "abc"])
@pytest.mark.parametrize(
    ("bus", "kva", "layer", "area", "missing"),
    [
        ("bb", 50.0, "system", "system", [0.5, 0.5, 0.5, 0.5]),
        ("a1", 60.0, "mv_feeder", "to-a1", [0.25, 0.25, 0.25, 0.0]),
        ("a2", 24.0, "section", "to-a2", [0.0, 0.0, 0.2, 0.0]),
        ("la", 40.0, "feeder", "A", [0.2, 0.2, 0.0, 0.0]),
        ("la-end", 8.0, "node", "la-end", [0.0, 0.6, 0.0, 0.0]),
    ],
)
def test_the_layer_that_binds_sets_the_price(
    phases: str, bus: str, kva: float, layer: str, area: str, missing: list[float]
) -> None:
    """Uniform prices where the system binds, zonal where an area does, nodal where a node does; 30, 20, 30, 20 kW."""
    for d, powers in enumerate(({"imports": ASKED}, {"imports": [0.0] * 4, "exports": ASKED})):
        case = town({bus: kva / len(phases) if phases == "abc" else kva}, phases=phases, **powers)
        run = ao.simulate(case, AMM(), steps=1)
        table = run.prices()
        mine = table[table["direction"] == ao.DIRECTIONS[d]]
        sign, start = ((0.3, 0.1), (-0.08, 0.08))[d]
        np.testing.assert_allclose(mine["deficit"], missing, atol=1e-6)
        np.testing.assert_allclose(mine["price_per_kwh"], start + sign * np.array(missing), atol=1e-6)
        behind = np.array(missing) > 0
        for column, text in (("layer", layer), ("area", area), ("limit", f"to-{bus}"), ("kind", "thermal")):
            np.testing.assert_array_equal(mine[column].astype(str), np.where(behind, text, ""))
        other = table[table["direction"] != ao.DIRECTIONS[d]]
        assert (other["layer"] == "").all()


def test_the_tightest_layer_is_inherited() -> None:
    """System 1 - 80/100, MV feeder 1 - 60/80, LV feeder A 1 - 45/50, its end 1 - 8/20."""
    case = town({"bb": 80.0, "a1": 60.0, "la": 45.0, "la-end": 8.0})
    table = ao.simulate(case, AMM(), steps=1).prices().query("direction == 'import'")
    np.testing.assert_allclose(table["deficit"], [0.25, 0.6, 0.25, 0.2], atol=1e-6)
    assert table["layer"].tolist() == ["mv_feeder", "node", "mv_feeder", "system"]
    assert table["limit"].tolist() == ["to-a1", "to-la-end", "to-a1", "to-bb"]


def test_uniform_zonal_and_nodal_pricing_as_configurations() -> None:
    """What is finer than a zone does not count in it, and everybody in a zone pays the same."""
    case = town({"bb": 80.0, "a1": 60.0, "la": 30.0, "la-end": 8.0})
    expected = {
        "uniform": [0.2, 0.2, 0.2, 0.2],
        "system": [0.2, 0.2, 0.2, 0.2],
        "mv_feeder": [0.25, 0.25, 0.25, 0.2],
        "section": [0.25, 0.25, 0.25, 0.2],
        "feeder": [0.4, 0.4, 0.25, 0.2],
        "node": [0.4, 0.6, 0.25, 0.2],
        "nodal": [0.4, 0.6, 0.25, 0.2],
    }
    for pricing, missing in expected.items():
        run = ao.simulate(case, AMM(pricing=pricing), steps=1)
        np.testing.assert_allclose(run.allocation.import_price[0], 0.1 + 0.3 * np.array(missing), atol=1e-6)
        recorded = run.prices().query("direction == 'import'")
        np.testing.assert_allclose(recorded["deficit"], missing, atol=1e-6)
        assert np.array_equal(run.allocation.import_kw, ao.simulate(case, AMM(), steps=1).allocation.import_kw)


def test_a_zone_pays_what_its_tightest_member_would() -> None:
    """The voltage of the end binds, which its neighbour moves by three quarters: w falls by 2 r (3 x 90 + 60) / 160."""
    lines = town(r_ohm=0.05, imports=[30.0, 60.0, 0.0, 0.0])
    grid = ao.Grid(lines, ao.LinDistFlow(lines.feeder))
    requests = lines.requests(0, 1).interval(0)
    own, zonal = deficits(grid, requests)[0], deficits(grid, requests, "feeder")[0]
    missing = 1 - 0.19 / (2 * 0.05 * (3 * 90 + 60) / 160)
    np.testing.assert_allclose(own, [0.75 * missing, missing, 0.5 * missing, 0.25 * missing], atol=1e-6)
    np.testing.assert_allclose(zonal, [missing, missing, 0.5 * missing, 0.25 * missing], atol=1e-6)
    run = ao.simulate(lines, AMM(), steps=1)
    assert (run.prices().query("participant == 'p0'")["kind"] == ["voltage", ""]).all()
    (row,) = run.price_layers().query("direction == 'import'").to_dict("records")
    assert (row["layer"], row["area"], row["limit"]) == ("feeder", "A", "la-end")
    assert (row["intervals"], row["share_pct"], row["inside_pct"]) == (1, 100.0, 50.0)  # p0, p1 of p0 to p3


own_layers = {
    "street": {"far": ["la-end"]},
    "feeder": "default",
    "town": {"west": ["a1"], "east": ["b1"]},
}


def test_layers_of_ones_own() -> None:
    case = town({"la-end": 8.0, "a1": 60.0}, layers=own_layers)
    assert case.layers.names == ("node", "street", "feeder", "town", "system")
    said = by_name(case)
    assert said["to-la-end"] == ("street", "far")  # all that is behind is the street, which is named
    assert said["to-la"] == ("feeder", "A")
    assert said["to-a2"] == said["to-a1"] == ("town", "west")
    assert said["v:la-end"] == ("street", "far")
    prices = ao.simulate(case, AMM(pricing="town"), steps=1).allocation.import_price[0]
    np.testing.assert_allclose(prices, 0.1 + 0.3 * np.array([0.25, 0.25, 0.25, 0.0]), atol=1e-6)


def test_layers_on_a_meshed_network() -> None:
    """The tie belongs to the smallest area with both its ends; half of the deficit is not graded by anybody's wish."""
    layers = {"half": {"west": ["a1", "a2", "la", "la-end", "lb"], "east": ["b1", "lc"]}}
    case = town({"lb": 15.0}, meshed=True, layers=layers)
    said = by_name(case)
    assert said["tie"] == said["to-bb"] == ("system", "system")
    assert said["to-lb"] == said["to-a2"] == ("half", "west")
    assert said["to-lc"] == ("half", "east")
    run = ao.simulate(case, AMM(), network="dc", steps=1)
    table = run.prices().query("direction == 'import'")
    np.testing.assert_allclose(table["deficit"], [0.0, 0.0, 0.5, 0.0], atol=1e-6)
    assert table["area"].tolist() == ["", "", "west", ""]
    zonal = ao.simulate(case, AMM(pricing="half"), network="dc", steps=1).allocation.import_price[0]
    np.testing.assert_allclose(zonal, 0.1 + 0.3 * np.array([0.5, 0.5, 0.5, 0.0]), atol=1e-6)


def test_layers_are_kept_in_a_folder_and_count_in_the_fingerprint(tmp_path: Path) -> None:
    case = town(layers=own_layers)
    ao.save_case(case, tmp_path / "case")
    again = ao.load_case(tmp_path / "case")
    assert again.own_layers == own_layers
    assert list(again.own_layers) == list(own_layers)
    assert again.fingerprint == case.fingerprint != town().fingerprint


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"zone": {"x": ["a1"], "y": ["la"], "z": ["a2", "b1"]}}, "zone 'z' and zone 'x' overlap, at bus 'a2'"),
        ({"feeder": "default", "zone": {"x": ["la-end", "b1"]}}, "overlap"),
        ({"zone": {"x": ["a1"]}, "feeder": "default"}, "feeder 'A' lies in zone 'x': layers stand finest first"),
        ({"zone": {"x": ["nowhere"]}}, "zone.x: no bus is called 'nowhere'"),
        ({"zone": {"x": "a1"}}, "zone.x = 'a1' must be a list of buses"),
        ({"zone": {}}, "zone = {} must be areas with their buses"),
        ({"zone": "default"}, "only feeder, section, mv_feeder can be"),
        ({"system": {"x": ["a1"]}}, "cannot be the name of a layer of your own"),
    ],
)
def test_layers_that_do_not_nest_are_refused(layers: dict[str, Any], said: str) -> None:
    with pytest.raises(ao.InputError, match="layers: ") as caught:
        town(layers=layers)
    assert said in str(caught.value)


def test_bad_layers_end_with_code_2(tmp_path: Path) -> None:
    folder = ao.save_case(town(), tmp_path / "case")
    unknown = amm_opt("run", str(folder), "--mechanism", "amm:pricing=zone", "--steps", "1")
    assert unknown.returncode == 2
    assert (
        "unknown pricing 'zone'; valid choices: feeder, mv_feeder, nodal, node, section, system, uniform"
        in " ".join(unknown.stderr.split())
    )
    with (folder / "case.toml").open("a") as file:
        file.write('\n[layers]\nfeeder = "default"\nzone = {x = ["la-end", "b1"]}\n')
    crossing = amm_opt("run", str(folder), "--mechanism", "amm", "--steps", "1")
    assert crossing.returncode == 2
    assert "overlap" in crossing.stderr
    assert "Traceback" not in crossing.stderr + unknown.stderr


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_recorded_prices_are_the_tightest_of_the_layers(seed: int) -> None:
    """Random ratings and requests: the recorded limit is the one with the deficit; more layers never cost less."""
    rng = np.random.default_rng(seed)
    case = town({b: float(rng.uniform(2, 120)) for b in BUSES}, rng.uniform(0, 40, 4), rng.uniform(0, 40, 4))
    run = ao.simulate(case, AMM(), steps=1)
    table = run.prices()
    imports, exports = np.split(table["deficit"].to_numpy(), 2)
    np.testing.assert_allclose(run.allocation.import_price[0], 0.1 + 0.3 * imports, atol=1e-12)
    np.testing.assert_allclose(run.allocation.export_price[0], 0.08 - 0.08 * exports, atol=1e-12)
    # by hand: with traces of impedance only ratings bind, and the net of requests behind one is the sum below it
    requests, feeder = case.requests(0, 1).interval(0), case.feeder
    net = requests.import_request_kw - requests.export_request_kw
    worst, who = np.zeros((2, 4)), [[""] * 4, [""] * 4]
    for b in range(1, feeder.n_buses):
        below = (case.bus >= b) & (case.bus < feeder.subtree_end[b])
        flow = net[below].sum()
        missing = max(0.0, 1 - feeder.rating_kva[b] / abs(flow)) if flow else 0.0
        for i in np.flatnonzero(below):
            if missing > worst[int(flow < 0), i] + 1e-9:
                worst[int(flow < 0), i], who[int(flow < 0)][i] = missing, feeder.branch_names[b]
    np.testing.assert_allclose(table["deficit"], worst.ravel(), atol=1e-6)
    said = table["limit"].astype(str).to_numpy()
    clear = np.abs(worst.ravel()) > 1e-6
    assert np.array_equal(said[clear], np.array(who).ravel()[clear])
    grid, finer = ao.Grid(case, ao.LinDistFlow(feeder)), np.zeros((2, 4))
    for pricing in ("uniform", "mv_feeder", "feeder", "node"):  # limits are of branches: a finer zone never costs less
        found = deficits(grid, requests, pricing)
        assert np.all(found >= finer - 1e-12)
        finer = found
    np.testing.assert_allclose(finer, deficits(grid, requests), atol=1e-12)


def test_prices_of_stored_runs_of_two_tiers_and_in_any_order(tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=120,days=1,seed=3").with_scenario(import_scale=2.0, export_scale=1.5)
    run = ao.simulate(case, AMM(), out=tmp_path / "run")
    table, again = run.prices(), ao.open_run(tmp_path / "run").prices()
    pd.testing.assert_frame_equal(table, again)
    assert set(table["layer"]) >= {"", "feeder"}
    two = ao.simulate(case, AMM(), tiers="two").prices()
    pd.testing.assert_frame_equal(table, two)
    some = table.astype({"participant": str}).set_index(["time", "participant", "direction"]).sort_index()
    other = ao.simulate(shuffled(case, 5), AMM()).prices().astype({"participant": str})
    other = other.set_index(["time", "participant", "direction"]).sort_index()
    np.testing.assert_allclose(some["price_per_kwh"], other["price_per_kwh"], atol=1e-9)
    assert np.mean(some["layer"].astype(str) == other["layer"].astype(str)) > 0.999
    counts = run.price_layers()
    for direction in ao.DIRECTIONS:
        mine = counts[counts["direction"] == direction]
        assert mine["share_pct"].sum() == pytest.approx(100)
        here = table[(table["direction"] == direction) & (table["layer"] != "")]
        named = mine[mine["layer"] != ""]
        assert named["by_hour"].map(sum).sum() == named["by_month"].map(sum).sum() == len(here)
        assert named["intervals"].max() <= here["time"].nunique()
        assert mine["lowest_price"].min() >= {"import": 0.1, "export": 0.0}[direction] - 1e-12
        assert mine["highest_price"].max() <= {"import": 0.4, "export": 0.08}[direction] + 1e-12


def test_explain_says_what_set_prices(tmp_path: Path) -> None:
    """In words, as JSON and as a picture; a mechanism whose prices follow from nothing has nothing to draw."""
    case = town({"bb": 80.0, "la-end": 8.0})
    for spec in ("amm", "dnp"):
        ao.simulate(case, spec, out=tmp_path / spec)
    said = CliRunner().invoke(main, ["explain", str(tmp_path / "amm"), "--picture", str(tmp_path / "p.png")])
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    assert "What set prices of import, of all participants and intervals: system 75 %, node 25 %" in words
    assert "What set prices of export, of all participants and intervals: no limit 100 %" in words
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(CliRunner().invoke(main, ["explain", str(tmp_path / "amm"), "--json"]).stdout)
    found = {(row["direction"], row["layer"], row["limit"]): row["share_pct"] for row in record["prices"]}
    assert found == {
        ("import", "system", "to-bb"): 75.0,
        ("import", "node", "to-la-end"): 25.0,
        ("export", "", ""): 100.0,
    }
    other = CliRunner().invoke(main, ["explain", str(tmp_path / "dnp"), "--picture", str(tmp_path / "q.png")])
    assert other.exit_code == 2
    assert "nothing to draw" in " ".join(other.output.split())


def test_prices_that_cannot_be_explained_are_refused() -> None:
    case = town({"bb": 50.0}, imports=[ASKED] * 4)
    with pytest.raises(ao.InputError, match="sets no prices"):
        ao.simulate(case, "equal_doe").prices()
    forecast = ao.simulate(case, "amm", forecast="noisy:sigma=0.1,seed=1")
    with pytest.raises(ao.InputError, match="is not kept"):
        forecast.prices()
    dnp = ao.simulate(case, "dnp")
    assert list(dnp.prices()) == ["time", "participant", "direction", "price_per_kwh"]
    with pytest.raises(ao.InputError, match="do not follow from deficits"):
        dnp.price_layers()


def test_areas_of_limits_agree_with_layers() -> None:
    case = town(phases="abc")
    grid = ao.Grid(case, ao.LinDist3Flow(case.feeder))
    q, layers = grid.network.quantities, case.layers
    assert isinstance(layers, Layers)
    names = by_name(case)
    for k, area in enumerate(areas_of(grid).tolist()):
        band = q.kind[k] == "voltage"
        name = f"v:{case.feeder.bus_names[q.element[k]]}" if band else case.feeder.branch_names[q.element[k]]
        assert layers.areas[area] == names[name][1]
