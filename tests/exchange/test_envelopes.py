"""Limits at connection points: against sums by hand, in watts and in UTC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import one_transformer

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.grid import Grid
from amm_opt.network.excess import excesses
from amm_opt.registry import model_of
from amm_opt.testing.cases import small_case

FREE_KVA = 1e4


def in_brisbane(case: Case) -> Case:
    """Ten hours ahead of UTC; IANA's names of offsets have the opposite sign."""
    return replace(case, timezone="Etc/GMT-10")


def test_net_power_by_hand() -> None:
    """A car on top of load, a roof beside load, and a plant that must run."""
    case = one_transformer(
        FREE_KVA,
        inflexible=[[0.5, 1.2, -0.3], [0.7, 0.2, -0.1]],
        imports=[[2.3, 0.0, 0.0], [0.0, 0.0, 1.0]],
        exports=[[0.0, 4.0, 4.0], [0.0, 0.0, 0.0]],
    )
    found = ao.envelopes(ao.simulate(in_brisbane(case), "no_control"))
    assert found.basis == "allocation"
    assert found.limit_w[0].tolist() == [[2800, 1200, 0], [700, 200, 900]]
    assert found.limit_w[1].tolist() == [[0, 2800, 4300], [0, 0, 100]]
    assert found.default_w.tolist() == [[700, 1200, 0], [0, 0, 300]]
    assert found.duration_s == 1800
    assert found.price_per_kwh is None


def test_starts_are_in_utc() -> None:
    case = in_brisbane(one_transformer(FREE_KVA, [1.0], [1.0], [0.0]))
    found = ao.envelopes(ao.simulate(case, "no_control"))
    assert found.start_text == ("2030-01-06T14:00:00Z", "2030-01-06T14:30:00Z")
    assert found.start_s == (1893938400, 1893940200)  # date -u -d 2030-01-06T14:00Z +%s
    later = ao.envelopes(ao.simulate(case, "no_control"), "2030-01-07 00:30")
    assert later.start_text == ("2030-01-06T14:30:00Z",)


def test_a_fixed_limit_is_sent_whatever_is_asked_for() -> None:
    """1.5 kW, more where load needs it; what it served is not the limit."""
    case = in_brisbane(one_transformer(FREE_KVA, [0.5, 2.0], [0.2, 5.0], [3.0, 0.0]))
    found = ao.envelopes(ao.simulate(case, "static"))
    assert found.basis == "mechanism"
    assert found.limit_w[:, 0].tolist() == [[1500, 2000], [1500, 1500]]


def test_every_row_says_where_its_limit_comes_from() -> None:
    """Of a mechanism that limits sites, of what was served, and of intervals that failed or were cut back."""
    case = in_brisbane(one_transformer(FREE_KVA, [0.5, 2.0], [0.2, 5.0], [0.0, 0.0]))
    run = ao.simulate(case, "static")
    assert ao.envelopes(run).bases.tolist() == [["mechanism"] * 2] * 2
    assert ao.envelopes(ao.simulate(case, "amm")).bases.tolist() == [["allocation"] * 2] * 2
    some = replace(run, failed_steps={0: "out of order"}, repaired_steps=(1,))
    found = ao.envelopes(some)
    assert found.bases.tolist() == [["failed", "cut_back"]] * 2
    assert found.table["import_basis"].tolist() == ["failed"] * 2 + ["cut_back"] * 2
    assert ao.envelopes(some, slice(1, 2)).bases.tolist() == [["cut_back"]] * 2
    np.testing.assert_array_equal(found.limit_w[0, 1], [700, 2000])  # what was served, not 1.5 kW


def test_equal_envelopes_reach_beyond_what_is_served(tmp_path: Path) -> None:
    """12 kW in equal parts for two, of whom one asks for 1 kW and nobody to export."""
    case = in_brisbane(one_transformer(12.0, [1.0, 1.0], [1.0, 9.0], [0.0, 0.0]))
    run = ao.simulate(case, "equal_doe")
    np.testing.assert_allclose(run.allocation.import_kw[0], [1.0, 5.0], atol=1e-4)
    found = ao.envelopes(run)
    np.testing.assert_allclose(found.limit_w[0], 6000, atol=1)
    ao.export_envelopes(found, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(zip(table["import_basis"], table["export_basis"], strict=True)) == {("mechanism", "allocation")}
    two = ao.envelopes(ao.simulate(in_brisbane(case), "equal_doe", forecast="persistence"))
    assert two.basis == "allocation"


@pytest.mark.parametrize("balanced", [True, False])
def test_a_network_is_full_with_everybody_at_its_limit(balanced: bool) -> None:
    """On phases too, where limits are of all phases together: a tenth more is too much.

    Not in intervals that were cut back, which have what was allocated.
    """
    case = in_brisbane(small_case(balanced))
    run = ao.simulate(case, "equal_doe")
    found, grid = ao.envelopes(run), Grid(case, model_of(case, run.network, run.model))
    load_kw, limit_kw = run.requests.inflexible_kw, found.limit_w / 1000
    corners = (
        np.stack([limit_kw[0] - load_kw, np.zeros_like(load_kw)]),
        np.stack([np.zeros_like(load_kw), limit_kw[1] + load_kw]),
    )
    for corner in corners:
        beyond = []
        for part in (1.0, 1.1):
            state = grid.network.state(*grid.node_injections(load_kw, *(part * corner)))
            kept = np.delete(np.hstack(excesses(grid.network, state)), run.repaired_steps, axis=0)
            beyond.append(kept.max())
        assert beyond[0] < 1e-4
        assert beyond[1] > 1e-3


def test_batteries_draw_and_feed_in() -> None:
    case = one_transformer(
        2.0, [1.0, 1.0], [0.0, 3.0], [0.0, 0.0], battery_kwh=[4.0, 0.0], battery_kw=[1.0, 0.0], battery_initial=1.0
    )
    run = ao.simulate(in_brisbane(case), "fot_storage:window=2")
    found, kw = ao.envelopes(run), run.allocation.battery_kw
    assert kw is not None
    assert kw[0, 0] > 0.5  # it discharges for its neighbour
    expected = np.maximum(1000 * (kw[:, 0] - 1.0), 0.0)
    np.testing.assert_allclose(found.limit_w[1][:, 0], expected, atol=1.0)
    np.testing.assert_allclose(found.limit_w[0][:, 0], 1000 * (1.0 + np.maximum(-kw[:, 0], 0.0)), atol=1.0)


def test_a_table_has_a_row_for_each_site_and_interval() -> None:
    case = in_brisbane(one_transformer(3.0, [1.0, 1.0], [2.0, 2.0], [0.0, 0.0]))
    run = ao.simulate(case, "amm")
    table = ao.envelopes(run, default_import_w=1500, default_export_w=0).table
    assert table["site"].tolist() == ["p0", "p1", "p0", "p1"]
    assert table["default_import_limit_w"].unique().tolist() == [1500]
    prices = run.prices().pivot_table(index="time", columns=["direction", "participant"], values="price_per_kwh")
    np.testing.assert_allclose(table["import_price_per_kwh"], prices["import"].to_numpy().ravel())
    again = ao.envelopes(ao.simulate(case, "amm"))
    assert table["calculation_id"].unique().tolist() == [again.calculation_id]
    assert ao.envelopes(ao.simulate(case, "amm:alpha=2")).calculation_id != again.calculation_id
    assert pd.to_datetime(table["start_utc"]).dt.tz is not None


def test_what_cannot_be_exported_is_refused() -> None:
    case = one_transformer(FREE_KVA, [1.0], [1.0], [0.0])
    run = ao.simulate(case, "no_control")
    with pytest.raises(ao.InputError, match="does not say in which time zone"):
        ao.envelopes(run)
    with pytest.raises(ao.InputError, match="daylight saving"):
        ao.envelopes(run, timezone="Australia/Sydney")
    with pytest.raises(ao.InputError, match="is not that of case"):
        ao.envelopes(ao.simulate(in_brisbane(case), "no_control"), timezone="Etc/UTC")
    with pytest.raises(ao.InputError, match="default_import_w = -1"):
        ao.envelopes(run, timezone="Etc/UTC", default_import_w=-1)
    with pytest.raises(ao.InputError, match="not inside the run"):
        ao.envelopes(ao.simulate(case, "no_control", steps=1), "2030-01-07 00:30", timezone="Etc/UTC")
