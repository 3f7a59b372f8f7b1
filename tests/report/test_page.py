"""A report is one file that says what the runs say, asks nobody for anything, and takes names as text."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.study.cli import main
from amm_opt.study.report import content
from amm_opt.study.report.page import report
from amm_opt.study.report.sample import MOST_STEPS, sampled

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


@pytest.fixture
def folder(reported: Path) -> Path:
    return reported


@pytest.fixture
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def table(page: str, name: str) -> pd.DataFrame:
    """A table of the page as pandas would see it: texts by heading."""
    body = page[page.index(f'<table id="table-{name}">') :]
    body = body[: body.index("</table>")]
    heads = re.findall(r"<button[^>]*>(.*?)</button>", body)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", body, re.DOTALL)]
    return pd.DataFrame(rows, columns=heads)


def test_nothing_is_asked_for(page: str) -> None:
    """What is linked to is in the page; the browser is told to load nothing else."""
    links = re.findall(r'\b(?:src|href|action|srcset|data)="([^"]*)"', page)
    assert len(links) > 20
    assert {link[:1] if link.startswith("#") else link[:5] for link in links} <= {"#", "data:"}
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    names = re.findall(r'\bid="([^"]*)"', page)
    assert len(names) == len(set(names))


def test_the_table_is_the_summary(folder: Path, page: str) -> None:
    result, shown = ao.open_comparison(folder), table(page, "results")
    assert list(shown["mechanism"]) == list(result)
    per = {"kWh": 1000.0, "MWh": 1.0}[next(c for c in shown if c.startswith("unserved, ") and "Wh" in c)[10:]]
    unit = "kWh" if per == 1000.0 else "MWh"
    for column, name, scale in (
        (f"unserved, {unit}", "unserved_mwh", per),
        (f"curtailed, {unit}", "curtailed_mwh", per),
        ("jain participant", "jain_participant", 1.0),
        ("worst participant served", "worst_participant_served", 1.0),
        ("voltage violations, pairs", "voltage_violations", 1.0),
    ):
        got = shown[column].str.replace(",", "").astype(float)
        np.testing.assert_allclose(got, result.table[name].astype(float) * scale, atol=5.1e-3)
    whole = table(page, "columns").set_index("column")
    assert set(whole.index) == set(result.table.columns[result.table.notna().any()])
    assert float(whole.loc["p10_participant_served", "amm"]) == pytest.approx(
        result["amm"].summary["p10_participant_served"], abs=5e-4
    )


def test_claims_limits_and_the_worst_off(odd: ao.Case, folder: Path, page: str) -> None:
    result = ao.open_comparison(folder)
    told = table(page, "claims").set_index("mechanism")
    assert list(told["rung"]) == ["falsified", "point", "point"]
    explained = result["amm"].explain()
    lost = 1000.0 * (explained["unserved_mwh"] + explained["curtailed_mwh"])
    shown = table(page, "limits")
    mine = shown[shown["mechanism"] == "amm"]
    assert list(mine["limit"]) == list(explained["limit"][lost > 0][: len(mine)])
    got = mine["lost behind it, kWh"].str.replace(",", "").astype(float)
    np.testing.assert_allclose(got, lost[lost > 0][: len(mine)], atol=0.051)
    data = result["equal_doe"].dataset
    asked, served = (data[name].sum("time").to_numpy()[0] for name in ("requested_kw", "served_kw"))
    ratio = np.where(asked > 0, served / np.where(asked > 0, asked, 1.0), np.inf)
    worst = table(page, "worst-off")
    first = worst[(worst["mechanism"] == "equal_doe") & (worst["direction"] == "import")]
    assert len(first) == 10
    np.testing.assert_allclose(first["served ratio"].astype(float), np.sort(ratio)[:10], atol=5e-4)
    assert first["participant"].iloc[0] == odd.participant_names[int(ratio.argmin())]


def test_starved_are_named(odd: ao.Case) -> None:
    """Who gets less than a tenth of the median: by hand, one of four."""
    from amm_opt.pictures.readings import Energies

    people = np.flatnonzero(odd.lv_feeder >= 0)[:4]
    asked, served = np.zeros((1, 2, odd.n_participants)), np.zeros((1, 2, odd.n_participants))
    asked[0, 0, people] = 10.0
    served[0, 0, people] = (10.0, 10.0, 10.0, 0.9)
    result = ao.compare(odd, "no_control", steps=1)
    energies = {"no_control": Energies(odd, pd.date_range("2030-01-01", periods=1), asked, served)}
    worst, said = content.worst_off(result, energies)
    assert said == ["no_control: 1 participant is starved of import, below a tenth of the median 1.000"]
    (row,) = worst.rows
    assert [c.text for c in row[5:]] == ["0.090", "10.0", "9.1", "yes"]


def test_names_are_text_and_the_import_is_told(page: str) -> None:
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd&lt;/b&gt; &amp; case" in page
    assert "every line is &lt;i&gt;new&lt;/i&gt;" in page
    assert "2 switches" in page
    assert "digest of the case" in page


def test_a_case_keeps_what_its_importer_said(odd: ao.Case, tmp_path: Path) -> None:
    ao.save_case(odd, tmp_path / "case")
    again = ao.load_case(tmp_path / "case")
    assert again.report == odd.report
    assert again.fingerprint == odd.fingerprint
    assert "Assumed:\n  - every line" in str(again.report)
    toml = tmp_path / "case" / "case.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace('assumed = ["', 'guessed = ["'), encoding="utf-8")
    with pytest.raises(ao.InputError, match="report must be a table of source, read, assumed, left_out, broken"):
        ao.load_case(tmp_path / "case")


def test_one_run_is_reported_too_and_stays_readable(folder: Path, page: str, tmp_path: Path) -> None:
    assert page
    done = CliRunner().invoke(main, ["report", str(folder / "amm"), "--out", str(tmp_path / "amm.html")])
    assert done.exit_code == 0, done.output
    single = (tmp_path / "amm.html").read_text(encoding="utf-8")
    assert list(table(single, "results")["mechanism"]) == ["amm"]
    assert list(ao.open_comparison(folder)) == ["no_control", "equal_doe", "amm"]
    none = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert none.exit_code == 2
    for place, said in ((tmp_path, "is a folder"), (tmp_path / "none" / "r.html", "there is no folder")):
        wrong = CliRunner().invoke(main, ["report", str(folder / "amm"), "--out", str(place)])
        assert (wrong.exit_code, said in wrong.output) == (2, True)


def test_where_everything_is_served_no_limit_is_told() -> None:
    """A night without any request, or with all of them served, on a network of one feeder, is a page like others."""
    case = ao.load_case("synthetic:buses=70,days=1,seed=3")
    night = report(ao.simulate(case, "amm", steps=slice(8, 9)))
    assert 'id="table-limits"' not in night
    assert 'id="table-worst-off"' not in night
    assert "No limit of the network stands behind anything that was not served." in night
    assert "Nobody is starved" in night
    assert "Energy against the worst-off" not in night  # of one mechanism there is no trade-off
    assert night.count("nothing was asked for") >= 2


def test_mechanisms_of_which_none_keeps_limits_are_not_said_to() -> None:
    case = ao.load_case("synthetic:buses=20,days=1,seed=3")
    page = report(ao.compare(case, ["no_control", "static"], steps=slice(36, 44)))
    assert "of all mechanisms, its worst-off participant is served best" in page
    assert "of all that keep limits" not in page


def test_long_runs_are_looked_at_on_days_of_every_weekday() -> None:
    year = ao.simulate(ao.load_case("synthetic:buses=5,days=366,seed=1"), "no_control")
    spans, words = sampled(year)
    assert words == "20 of 366 days, evenly spaced"
    assert all(b - a == 48 and a % 48 == 0 for a, b in spans)
    assert sum(b - a for a, b in spans) <= MOST_STEPS
    assert {year.times[a].day_of_week for a, _ in spans} == set(range(7))
    assert {a // 48 for a, _ in spans} == set(range(0, 366, 19))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ao.InputError, match=r"pip install 'amm-opt\[report\]'"):
        report(ao.open_run(folder / "amm"))
