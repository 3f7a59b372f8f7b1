"""Maps: buses stand where they are, branches join them, colours are the run's numbers, and plotly tells the same."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")

from amm_opt.pictures.network.layout import laid_out

BUSES = pd.DataFrame(
    {
        "name": ["grid", "mv", "lv1", "a", "b", "c"],
        "vn_kv": [10.0, 10.0, 0.4, 0.4, 0.4, 0.4],
        "v_min_pu": 0.9,
        "v_max_pu": 1.1,
        "feeder": ["", "", "one", "one", "one", "one"],
        "v_source_pu": [1.0, None, None, None, None, None],
        "x": [0.0, 1.0, None, 2.0, 3.0, 3.0],
        "y": [0.0, 1.0, None, 1.0, 2.0, 0.0],
    }
)
BRANCHES = pd.DataFrame(
    {
        "name": ["line", "trafo", "to a", "to b", "to c"],
        "from_bus": ["grid", "mv", "lv1", "a", "a"],
        "to_bus": ["mv", "lv1", "a", "b", "c"],
        "r_ohm": [0.1, 0.01, 0.05, 0.05, 0.05],
        "x_ohm": [0.1, 0.02, 0.02, 0.02, 0.02],
        "kind": ["line", "transformer", "line", "line", "line"],
        "rating_kva": [None, 8.0, None, 20.0, 20.0],
        "import_limit_kw": [7.0, None, None, None, None],
    }
)


def case() -> ao.Case:
    """b and c ask for 5 kW each in both of two hours, and the line takes 7 kW in all."""
    times = pd.date_range("2030-01-01", periods=2, freq="h")
    people = pd.DataFrame({"name": ["at b", "at c"], "bus": ["b", "c"], "connection_import_kw": 10.0})
    series = pd.DataFrame({"participant": people["name"], "quantity": "import", "profile": "one", "scale_kw": 5.0})
    return ao.from_tables(
        name="y",
        buses=BUSES,
        branches=BRANCHES,
        participants=people,
        profiles=pd.DataFrame({"time": times, "one": [1.0, 1.0]}),
        series=series,
    )


@pytest.fixture(scope="module")
def run() -> ao.Run:
    return ao.simulate(case(), "amm")


def test_coordinates_and_who_has_none() -> None:
    """The bus without coordinates stands where the one upstream does."""
    feeder = case().feeder
    where = dict(zip(feeder.bus_names, laid_out(feeder).xy.tolist(), strict=True))
    assert laid_out(feeder).kind == "coordinates"
    assert where == {"grid": [0, 0], "mv": [1, 1], "lv1": [1, 1], "a": [2, 1], "b": [3, 2], "c": [3, 0]}


def test_a_tidy_tree() -> None:
    """Depth to the right; a leaf to a row, and who leads to them in their middle; no two buses on one place."""
    feeder = case().feeder
    placed = laid_out(feeder, "tree")
    where = dict(zip(feeder.bus_names, placed.xy.tolist(), strict=True))
    assert {name: x for name, (x, _) in where.items()} == {"grid": 0, "mv": 1, "lv1": 2, "a": 3, "b": 4, "c": 4}
    assert {where["b"][1], where["c"][1]} == {0.0, 1.0}
    assert where["a"][1] == where["grid"][1] == 0.5
    large = ao.load_case("synthetic:buses=150,days=1,seed=1").feeder
    tree = laid_out(large, "tree")
    assert len(np.unique(tree.xy, axis=0)) == large.n_buses
    np.testing.assert_array_equal(tree.xy[:, 0], large.depth)
    np.testing.assert_array_equal(tree.courses[:, 0], tree.xy[large.ends[0, 1:]])
    np.testing.assert_array_equal(tree.courses[:, -1], tree.xy[large.ends[1, 1:]])


def test_layouts_that_are_none() -> None:
    with pytest.raises(ao.InputError, match=r"coordinates, tree"):
        case().plot(layout="spring")
    with pytest.raises(ao.InputError, match="no bus has coordinates"):
        ao.load_case("synthetic:buses=70,days=1").plot(layout="coordinates")


def test_the_case() -> None:
    """One line for each branch by kind; a dot for each bus with participants; the source is named."""
    figure = case().plot()
    (axes,) = figure.axes
    count = {c.get_label(): len(c.get_segments()) for c in axes.collections[:-1]}
    assert count == {"MV": 1, "LV": 3, "transformer": 1}
    assert axes.collections[-1].get_offsets().tolist() == [[3, 2], [3, 0]]
    assert [t.get_text() for t in axes.texts] == ["source"]
    assert "6 buses, 2 participants, 1 LV feeder" in figure.get_suptitle()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figure._repr_png_()[:4] == b"\x89PNG"


def test_loading_is_of_the_limit_that_is_closer(run: ao.Run) -> None:
    """7 of 10 kW pass: 100 % of the line's limit, 7/8 of the transformer; the branch without any limit is grey."""
    figure = run.plot.map("loading")
    axes, bar = figure.axes
    assert bar.get_ylabel() == "highest loading, % of the limit"
    values = {"line": 100.0, "trafo": 87.5, "to b": 17.5, "to c": 17.5}
    data = run.plot.map("loading", interactive=True)
    told = [t for trace in data.data if trace.text is not None for t in trace.text if t.startswith("branch")]
    assert len(told) == 5
    for name, value in values.items():
        (text,) = [t for t in told if f"branch {name}<" in t]
        assert float(text.rpartition(": ")[2].split()[0]) == pytest.approx(value, rel=1e-3)
    (text,) = [t for t in told if "branch to a<" in t]
    assert text.endswith(": -")
    (lines,) = axes.collections
    assert len(lines.get_segments()) == 5
    shades = [tuple(c) for c in lines.get_colors()]
    grey, yellow = (0.7686, 0.7686, 0.7686, 1.0), (0.9957, 0.9093, 0.2178, 1.0)
    assert sum(np.allclose(c, grey, atol=1e-3) for c in shades) == 1
    np.testing.assert_allclose(shades[-1], yellow, atol=1e-3)


def test_buses_are_coloured_by_served_ratio_voltage_price_and_deficit(run: ao.Run) -> None:
    voltages = run.voltages().to_numpy()
    expected = {
        "served": ("served ratio, import", [0.7, 0.7]),
        "deficit": ("mean deficit in 2 scarce intervals, import", [0.3, 0.3]),
        "price": ("mean price, import, currency/kWh", run.allocation.import_price.mean(axis=0).tolist()),
    }
    for what, (label, values) in expected.items():
        axes, bar = run.plot.map(what).axes
        assert bar.get_ylabel() == label
        dots = axes.collections[1]
        np.testing.assert_allclose(dots.get_array(), values, rtol=2e-3)
        assert sorted(map(tuple, dots.get_offsets().tolist())) == [(3, 0), (3, 2)]
    axes, bar = run.plot.map("voltage").axes
    assert bar.get_ylabel() == "voltage closest to a limit of its band, pu"
    assert sorted(axes.collections[1].get_array()) == pytest.approx(sorted(voltages.min(axis=0)))


def test_what_cannot_be_drawn(run: ao.Run) -> None:
    with pytest.raises(ao.InputError, match="deficit, loading, price, served, voltage"):
        run.plot.map("colour")
    with pytest.raises(ao.InputError, match="export, import"):
        run.plot.map("served", direction="up")
    with pytest.raises(ao.InputError, match="sets no prices"):
        ao.simulate(case(), "fet").plot.map("price")


def test_names_are_text_where_it_is_pointed_at() -> None:
    buses = BUSES.replace({"b": "<img src=x>"})
    branches = BRANCHES.replace({"b": "<img src=x>"})
    people = pd.DataFrame({"name": ["p"], "bus": ["<img src=x>"], "connection_import_kw": 10.0})
    one = pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="h"), "one": 1.0})
    series = pd.DataFrame({"participant": ["p"], "quantity": "import", "profile": "one", "scale_kw": 1.0})
    odd = ao.from_tables(name="odd", buses=buses, branches=branches, participants=people, profiles=one, series=series)
    text = odd.plot(interactive=True).to_json()
    assert "&lt;img" in text or r"\u0026lt;img" in text
    assert "<img" not in text
