"""Mechanisms side by side: distributions, months and the trade-off, with the same colour everywhere."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from small import one_transformer

import amm_opt as ao

pytest.importorskip("matplotlib")

CASE = ao.load_case("synthetic:buses=150,days=1,seed=1").with_scenario(import_scale=2.0, export_scale=1.5)
GIVES = ("fot:give=0", "fot:give=0.1", "fot:give=0.5")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ao.Comparison:
    made = ao.compare(CASE, ["no_control", *GIVES, "amm", "equal_doe"], steps=slice(20, 46))
    return ao.open_comparison(made.save(tmp_path_factory.mktemp("out") / "r"))


def test_served_ratios_as_steps(result: ao.Comparison) -> None:
    """At each served ratio of somebody the curve reaches the share of those who were served at most that."""
    figure = result.plot.served()
    data = result["equal_doe"].dataset
    asked, given = (data[name].sum("time").to_numpy() for name in ("requested_kw", "served_kw"))
    for d, axes in enumerate(figure.axes):
        curve = {line.get_label(): line for line in axes.get_lines()}["equal_doe"]
        x, y = curve.get_data()
        ratio = (given[d] / np.where(asked[d] > 0, asked[d], 1.0))[asked[d] > 0]
        for level in (ratio.min(), np.median(ratio), 1.0):
            reached = y[np.flatnonzero(x <= level + 1e-12)[-1]]
            assert reached == pytest.approx(100.0 * np.mean(ratio <= level + 1e-9), abs=1e-6)
        assert curve.get_drawstyle() == "steps-post"
    assert figure.axes[0].get_ylabel() == "% of participants served at most this"
    feeders = result.plot.served("feeder").axes[0].get_lines()[0]
    assert len(feeders.get_xdata()) == 2 + 2


def test_what_differs_by_rounding_is_drawn_as_one_point() -> None:
    """And numbers that are close are written out, not as what is to be added to another."""
    case = one_transformer(9.0, [1.0, 1.0], [4.0, 6.0], [0.0, 0.0])
    result = ao.compare(case, ["amm:alpha=1", "amm:alpha=1.0001"])
    figure = result.plot.trade_off()
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.texts] == ["1, 1.0001"]
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        assert ends[1] - ends[0] >= 1e-3
        assert axis.get_offset_text().get_text() == ""


def test_the_trade_off_joins_what_differs_in_one_number(result: ao.Comparison) -> None:
    (axes,) = result.plot.trade_off("feeder").axes
    joined = axes.get_lines()[0]
    table = result.table.astype(float)
    rows = table.loc[[label for label in result if label.startswith("fot")]]
    lost = rows["unserved_mwh"] + rows["curtailed_mwh"]
    np.testing.assert_allclose(joined.get_xdata(), rows["worst_feeder_served"])
    per = {"kWh": 1000.0, "MWh": 1.0}[axes.get_ylabel().removeprefix("not served, ")]
    np.testing.assert_allclose(joined.get_ydata(), lost * per, rtol=1e-9)
    assert joined.get_label() == "fot, by give"
    assert joined.get_linestyle() == "-"
    numbers = sorted(text for t in axes.texts for text in t.get_text().split(", "))
    assert numbers == ["0", "0.1", "0.5"]
    assert axes.get_xlabel() == "served ratio of the worst LV feeder"
    with pytest.raises(ao.InputError, match="feeder, participant"):
        result.plot.trade_off("street")


def test_what_broke_limits_is_hollow(result: ao.Comparison) -> None:
    figure = result.plot.trade_off()
    broke = result.table["thermal_violations"] + result.table["voltage_violations"] > 0
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) == broke.sum() > 0
    assert "hollow: limits were broken" in figure.get_suptitle()


def test_a_mechanism_has_one_colour(result: ao.Comparison) -> None:
    """And what keeps no limits is grey, or left out where it would hide everything else."""
    pictures = (result.plot.served(), result.plot.duration(), result.plot.months())
    seen: dict[str, set[str]] = {}
    for figure in pictures:
        for line in figure.axes[0].get_lines():
            seen.setdefault(line.get_label(), set()).add(line.get_color())
    labels = {label: seen[label] for label in result}
    assert all(len(colours) == 1 for colours in labels.values())
    assert labels["no_control"] == {"0.6"}
    assert "no_control" not in [line.get_label() for line in pictures[2].axes[0].get_lines()]


def test_every_picture_is_drawn_without_a_warning(result: ao.Comparison, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k, draw in enumerate((result.plot, result.plot.served, result.plot.trade_off, result.plot.duration)):
            draw().savefig(tmp_path / f"{k}.png")
            assert (tmp_path / f"{k}.png").stat().st_size > 5_000


def test_a_run_in_another_case_is_not_compared(result: ao.Comparison) -> None:
    other = ao.simulate(CASE.with_scenario(import_scale=1.0), "amm", steps=2)
    with pytest.raises(ao.InputError, match=r"another case or of other intervals"):
        ao.Comparison(CASE, {"one": result["amm"], "other": other}).plot.served()
