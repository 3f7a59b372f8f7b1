"""Pictures say what happened: units by size, whole intervals, curves told apart, names as text."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import amm_opt as ao
from formulations import AMM, EqualDOE, NoControl

pytest.importorskip("matplotlib")

from matplotlib import rc_context

from amm_opt.pictures.compared.panels import draw_comparison, save_picture
from amm_opt.pictures.style import COLOURS, DASHES, STYLE, caption, styles

CASE = ao.load_case("synthetic:buses=70,days=1,seed=3")


def named(mechanism: ao.Mechanism, name: str) -> ao.Mechanism:
    return type("Named", (type(mechanism),), {"name": name})(
        **{f.name: getattr(mechanism, f.name) for f in dataclasses.fields(mechanism)}
    )


def test_kilowatts_and_the_last_interval() -> None:
    result = ao.compare(CASE, [AMM(), named(AMM(), "twin"), EqualDOE()])
    imports, exports, _, fairness = draw_comparison(result).axes
    for axes, column in ((imports, "served_import_kw"), (exports, "accepted_export_kw")):
        assert ", kW, " in axes.get_title("left")
        (amm, _, _) = axes.get_lines()
        served = result.runs["amm"].intervals()[column]
        start = served.index.get_loc(amm.get_xdata()[0])
        count = len(amm.get_xdata()) - 1
        np.testing.assert_allclose(amm.get_ydata()[:-1], served.iloc[start : start + count])
        assert amm.get_ydata()[-1] == amm.get_ydata()[-2]
        assert amm.get_xdata()[-1] - amm.get_xdata()[-2] == np.timedelta64(30, "m")
        assert amm.get_drawstyle() == "steps-post"
        assert [t.get_text() for t in axes.texts] == ["amm = twin"]
        assert len({line.get_linewidth() for line in axes.get_lines()}) == 1
    assert "fewer than two" in fairness.texts[0].get_text()
    diamonds = [line.get_ydata()[0] for line in fairness.get_lines()]
    np.testing.assert_allclose(diamonds, result.table["jain_participant"].astype(float))


def test_megawatts_where_it_is_large() -> None:
    large = CASE.with_scenario(import_scale=100.0, export_scale=1.0)
    result = ao.compare(large, [NoControl(), EqualDOE()], steps=slice(24, 46))
    imports, exports, energy, _ = draw_comparison(result).axes
    assert ", MW, " in imports.get_title("left")
    assert ", kW, " in exports.get_title("left")
    assert "violations" in energy.get_yticklabels()[0].get_text()


def test_nothing_asked_is_not_nothing_missed() -> None:
    energy = draw_comparison(ao.compare(CASE, EqualDOE(), steps=slice(40, 41))).axes[2]
    assert [t.get_text().partition(" %")[2] or t.get_text() for t in energy.texts] == [
        " of import",
        "no export was asked for",
    ]


def test_every_curve_has_its_own_style() -> None:
    made = styles(map(str, range(len(COLOURS) * len(DASHES))))
    assert len({(s["color"], str(s["linestyle"])) for s in made.values()}) == len(made)


def test_names_are_text(tmp_path: Path) -> None:
    """Neither mathematics nor what matplotlib hides; a long name does not squeeze the panels."""
    names = ["$x^2$ $\\frac{", "_hidden", "long_" * 60, "a\x1b[31m\n\u202eb"]
    result = ao.compare(CASE, [named(EqualDOE(), name) for name in names], steps=slice(30, 46))
    with rc_context(STYLE):
        figure = draw_comparison(result)
        figure.savefig(tmp_path / "a.png")
        legend = [t.get_text() for t in figure.legends[0].get_texts()]
        assert legend[0] == "requested"
        assert [t.strip() for t in legend[1:3]] == ["$x^2$ $\\frac{", "_hidden"]
        assert r"a\x1b[31m\n\u202eb" in legend[4]
        assert min(axes.get_position().width for axes in figure.axes) > 0.25
    assert max(map(len, caption("long_" * 60).split("\n"))) <= 30
    assert save_picture(result, tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.png", "b.png"]


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 11])
def test_runs_of_hours_have_hours_below(steps: int, tmp_path: Path) -> None:
    """No warning either, which tests would turn into an error."""
    save_picture(ao.compare(CASE, [NoControl()], steps=slice(0, steps)), tmp_path / "hours.png")
    assert (tmp_path / "hours.png").stat().st_size > 0
