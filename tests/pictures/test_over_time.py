"""Days, months, duration curves and prices say what the run says: numbers, units, order."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from small import one_transformer

import amm_opt as ao

pytest.importorskip("matplotlib")

from amm_opt.pictures.over_time.duration import duration

CASE = ao.load_case("synthetic:buses=150,days=2,seed=1").with_scenario(import_scale=2.0, export_scale=1.5)


@pytest.fixture(scope="module")
def run() -> ao.Run:
    return ao.simulate(CASE, "amm")


def title(axes: object) -> str:
    return axes.get_title("left")


def test_the_scarcest_day(run: ao.Run) -> None:
    """Power above, in kW or MW; below a row for each LV feeder, the worst-off of the day first, nothing asked grey."""
    data = run.dataset
    asked, served = (data[f"feeder_{name}_kw"].to_numpy() for name in ("requested", "served"))
    lost = (asked - served).reshape(2, 48, -1).sum(axis=(1, 2))
    day = slice(48 * int(lost.argmax()), 48 * (int(lost.argmax()) + 1))
    figure = run.plot()
    for d, (top, below) in enumerate(zip(figure.axes[:2], figure.axes[2:4], strict=True)):
        (line,) = top.get_lines()
        per = {"kW": 1.0, "MW": 1000.0}[top.get_ylabel()]
        np.testing.assert_allclose(line.get_ydata()[:-1] * per, served[day, d].sum(axis=1), rtol=1e-9)
        assert (asked[day, d].sum(axis=1).max() >= 1000.0) == (per == 1000.0)
        assert line.get_drawstyle() == "steps-post"
        ratio = served[day, d].sum(axis=0) / asked[day, d].sum(axis=0)
        order = np.argsort(ratio)
        assert [t.get_text() for t in below.get_yticklabels()] == [CASE.feeder.lv_feeders[k] for k in order]
        mesh = below.collections[0].get_array()
        wanted = asked[day, d][:, order].T
        np.testing.assert_array_equal(np.ma.getmaskarray(mesh), wanted == 0)
        given = served[day, d][:, order].T
        np.testing.assert_allclose(mesh.compressed(), given[wanted > 0] / wanted[wanted > 0], rtol=1e-9)
    assert figure.axes[4].get_ylabel() == "served ratio"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure._repr_png_()


def test_participants_where_there_is_one_feeder_and_days_that_are_none(run: ao.Run) -> None:
    single = ao.simulate(ao.load_case("synthetic:buses=70,days=1,seed=3"), "amm")
    assert title(single.plot.day("2030-01-07").axes[2]) == "Served ratio by participant, worst-off first"
    with pytest.raises(ao.InputError, match="2031-05-01 is outside the run"):
        run.plot.day("2031-05-01")


def test_loading_sorted(run: ao.Run) -> None:
    """Against the labelled arrays of the run: the highest loading of each interval, in falling order, in %."""
    (axes,) = run.plot.duration().axes
    x, y = axes.get_lines()[0].get_data()
    highest = run.loading().to_numpy().max(axis=1)
    np.testing.assert_allclose(y[:-1], 100.0 * np.sort(highest)[::-1], rtol=1e-9)
    np.testing.assert_allclose(x, 100.0 * np.arange(97) / 96)
    assert axes.get_ylabel() == "most loaded branch, % of its limit"
    assert y.max() <= 100.0 + 1e-2
    (some,) = run.plot.duration(steps="2030-01-08").axes
    np.testing.assert_allclose(some.get_lines()[0].get_ydata()[:-1], 100.0 * np.sort(highest[48:])[::-1])


def test_months_without_an_index_say_why() -> None:
    """Two ask to import and get nothing, so that no index tells them apart; nobody asks to export."""
    run = ao.simulate(one_transformer(1.0, [1.0, 1.0], [4.0, 6.0], [0.0, 0.0]), "amm")
    assert run.summary["unserved_mwh"] == pytest.approx(0.01)
    said = [axes.texts[0].get_text().replace("\n", " ") if axes.texts else "" for axes in run.plot.months().axes]
    index = "no index: fewer than two asked for {}, or none was served"
    assert said == [index.format("import"), index.format("export"), "", "nobody asked for export"]


def test_a_duration_curve_by_hand() -> None:
    x, y = duration(np.array([1.0, 4.0, np.nan, 2.0, 3.0]))
    assert x.tolist() == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert y.tolist() == [4.0, 3.0, 2.0, 1.0, 1.0]  # as steps: 4 is reached in a quarter of the time
    assert [values.tolist() for values in duration(np.array([5.0]))] == [[0.0, 100.0], [5.0, 5.0]]
    assert not any(values.size for values in duration(np.array([np.nan])))


def test_prices_sorted_and_by_hour_and_month(run: ao.Run) -> None:
    table = run.intervals()
    for axes, direction in zip(run.plot.duration("price").axes, ("import", "export"), strict=True):
        np.testing.assert_allclose(
            axes.get_lines()[0].get_ydata()[:-1], np.sort(table[f"mean_{direction}_price"].to_numpy())[::-1]
        )
    figure = run.plot.prices()
    assert [title(axes) for axes in figure.axes[:6]] == [
        *("Mean price of import", "Prices of import set, % by hour", "Prices of import set, % by month"),
        *("Mean price of export", "Prices of export set, % by hour", "Prices of export set, % by month"),
    ]
    mesh = figure.axes[0].collections[0].get_array()
    assert mesh.shape == (24, 12)
    assert np.ma.getmaskarray(mesh)[:, 1:].all()
    for hour in (0, 22):
        mean = table["mean_import_price"][table.index.hour == hour].mean()
        assert mesh[hour, 0] == pytest.approx(mean, rel=1e-12)
    layers = run.price_layers()
    mine = layers[(layers["direction"] == "import") & (layers["layer"] != "")]
    bars = [bar for container in figure.axes[1].containers for bar in container]
    pairs = sum(np.array(hours) for hours in mine["by_hour"])
    height = np.zeros(24)
    for bar in bars:
        height[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
    np.testing.assert_allclose(height, 100.0 * pairs / (4 * CASE.n_participants), rtol=1e-9)
    with pytest.raises(ao.InputError, match="sets no prices"):
        ao.simulate(CASE, "equal_doe", steps=2).plot.prices()
    with pytest.raises(ao.InputError, match="loading, price"):
        run.plot.duration("time")


def test_months_by_themselves() -> None:
    """Two months of two feeders by hand: Jain's index (sum a)^2 / (n sum a^2), and what the worst lacks."""
    from amm_opt.pictures.over_time.months import by_month
    from amm_opt.pictures.readings import Energies

    n = CASE.n_participants
    home = CASE.lv_feeder
    one, two = (int(np.flatnonzero(home == k)[0]) for k in (0, 1))
    requested, served = np.zeros((2, 2, n)), np.zeros((2, 2, n))
    requested[:, 0, [one, two]] = 10.0
    served[0, 0, [one, two]] = (10.0, 5.0)
    served[1, 0, [one, two]] = (8.0, 8.0)
    months = pd.date_range("2030-01-01", periods=2, freq="MS")
    unequal, lacking = by_month(Energies(CASE, months, requested, served), "feeder")
    np.testing.assert_allclose(unequal[:, 0], [1.0 - 1.5**2 / (2 * 1.25), 0.0], atol=1e-12)
    np.testing.assert_allclose(lacking[:, 0], [0.5, 0.2])
    assert np.isnan(unequal[:, 1]).all()


def test_months_of_a_run(run: ao.Run) -> None:
    """A run within one month: the numbers of its summary, on a logarithmic axis whose labels are plain numbers."""
    figure = run.plot.months()
    figure.canvas.draw()
    values = [float(axes.get_lines()[0].get_ydata()[0]) for axes in figure.axes]
    s = run.summary
    jain = [1.0 - s[f"jain_feeder_{d}"] for d in ("import", "export")]
    worst = [1.0 - s[f"worst_feeder_served_{d}"] for d in ("import", "export")]
    np.testing.assert_allclose(values, [*np.maximum(jain, 1e-6), *np.maximum(worst, 1e-3)], rtol=1e-6)
    assert all(axes.get_yscale() == "log" for axes in figure.axes)
    assert all("$" not in t.get_text() for axes in figure.axes for t in axes.get_yticklabels())
    (line,) = run.plot.months("participant").axes[2].get_lines()
    assert line.get_ydata()[0] == pytest.approx(1.0 - s["worst_participant_served_import"], rel=1e-9)
    with pytest.raises(ao.InputError, match="feeder, participant"):
        run.plot.months("street")
