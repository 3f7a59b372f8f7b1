"""Two tiers: the split of a case, offers and grants, what is feasible, and what decomposition costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from small import TRACE, difference, shuffled, small_case

import amm_opt as ao
from amm_opt.cases import Case, from_tables
from amm_opt.cases.tiers import split
from amm_opt.market import FairnessState, ServedState
from amm_opt.simulation.loop.tiers import TwoTierMatching
from amm_opt.simulation.results.run import Run
from amm_opt.study.comparison import open_comparison
from formulations import AMM

FEEDERS = {"a0": "A", "a1": "A", "b0": "B", "b1": "B"}
PEOPLE = ["a1", "a1", "a0", "b1", "b0", "mv"]


def two_feeders(
    imports: Any, exports: Any, *, trunk_kva: float = 1000.0, lv_kva: float = 1000.0, r_ohm: float = TRACE, **kw: Any
) -> Case:
    """Feeders A and B and a customer of its own below one trunk line."""
    lines = {
        "mv": ("src", r_ohm, trunk_kva),
        "a0": ("mv", TRACE, lv_kva),
        "a1": ("a0", r_ohm, 1000.0),
        "b0": ("mv", TRACE, 1000.0),
        "b1": ("b0", r_ohm, 1000.0),
    }
    return small_case(lines, PEOPLE, np.zeros(len(PEOPLE)), imports, exports, feeder=FEEDERS, **kw)


def both(case: Case, mechanism: Any = "amm", steps: Any = None, **kw: Any) -> tuple[Run, Run]:
    """The same mechanism jointly and in two tiers."""
    joint, two = (ao.simulate(case, mechanism, steps=steps, tiers=tiers, **kw) for tiers in ("joint", "two"))
    assert two.summary["failed_steps"] == 0
    assert two.summary["thermal_violations"] == two.summary["voltage_violations"] == 0
    return joint, two


def served_mwh(run: Run) -> float:
    s = run.summary
    return float(s["requested_import_mwh"] + s["requested_export_mwh"] - s["unserved_mwh"] - s["curtailed_mwh"])


def squeezed(case: Case, rating: float, impedance: float = 1.0, v_max_pu: float = 1.1) -> Case:
    """The case with ratings and impedances of the upper tier's lines times these factors, and a limit of LV buses."""
    tables, feeder = case.tables(), case.feeder
    lower = set(np.array(feeder.bus_names)[feeder.lv_feeder >= 0])
    branches = tables["branches"]
    upper = ~(branches["from_bus"].isin(lower) | branches["to_bus"].isin(lower))
    for column, factor in (("rating_kva", rating), ("r_ohm", impedance), ("x_ohm", impedance)):
        branches[column] = branches[column].astype(float) * np.where(upper, factor, 1.0)
    buses = tables["buses"]
    buses["v_max_pu"] = np.where(buses["tier"] == "LV", v_max_pu, buses["v_max_pu"])
    return from_tables(name=case.name, **tables)


@pytest.fixture(scope="module")
def mv33lv() -> Case:
    return ao.load_case("mv33lv:scenario=private")


class TestSplit:
    def test_the_upper_tier_asks_for_what_its_feeders_ask_for(self, mv33lv: Case) -> None:
        requests = mv33lv.requests(7000, 7010)
        upper, lower = split(mv33lv)
        own, members = upper.requests(requests), mv33lv.groups("feeder").members[:-1]
        assert_allclose(own.export_request_kw[:, : len(lower)], requests.export_request_kw @ members.T, rtol=1e-12)
        assert upper.case.n_participants == len(lower) + np.sum(mv33lv.lv_feeder < 0)
        assert len(upper.case.feeder.lv_feeders) == 0
        for tier in (upper, *lower[:3]):
            profiled = tier.case.requests(7000, 7010)
            for name in ("inflexible_kw", "import_request_kw", "export_request_kw"):
                assert_allclose(getattr(tier.requests(requests), name), getattr(profiled, name), atol=1e-9)
            assert tier.case.feeder.bus_names == tuple(mv33lv.feeder.bus_names[b] for b in tier.bus)

    def test_a_feeder_by_itself_has_the_flows_and_voltages_that_it_has_in_the_whole(self, mv33lv: Case) -> None:
        tier = split(mv33lv)[1][4]
        rng = np.random.default_rng(1)
        use = rng.uniform(-3, 3, mv33lv.n_participants) * (tier.participant >= 0)
        whole, part = (ao.LinDistFlow(c.feeder) for c in (mv33lv, tier.case))
        at = whole.state(*mv33lv.bus_injections(0.0, 0.0, use))
        own = part.state(*tier.case.bus_injections(0.0, 0.0, use[tier.who]))
        assert_allclose(own.v_pu, at.v_pu[tier.bus], rtol=1e-12)
        assert_allclose(own.s_flow_kva, at.s_flow_kva[tier.bus], atol=1e-9)

    def test_power_factors_of_a_feeder_are_means_weighted_by_connections(self) -> None:
        factors = {
            "power_factor_import": [0.8, 1.0, 1.0, -0.8, -0.8, 0.9],
            "connection_import_kw": [30, 10, 20, 5, 5, 9],
        }
        case = two_feeders(np.ones(6), np.zeros(6), connection_export_kw=0.0, **factors)
        ratios = split(case)[0].case.kvar_per_kw[1]
        assert_allclose(ratios, [0.75 * 30 / 60, -0.75, np.sqrt(1 / 0.81 - 1)], rtol=1e-9)

    @pytest.mark.parametrize(
        ("feeder", "message"),
        [
            ({"a1": "A", "b0": "A", "b1": "A"}, "LV feeder 'A' is fed from several buses: 'mv', 'a0'"),
            ({"a0": "A", "b0": "B", "b1": "B"}, "LV feeder 'A' feeds bus 'a1', which is not part of it"),
            ({"a0": "A", "a1": "C", "b0": "B", "b1": "B"}, "LV feeder 'A' feeds bus 'a1', which is not part of it"),
            ({"b1": None}, "no customer is in an LV feeder"),
        ],
    )
    def test_what_cannot_be_split_is_named(self, feeder: dict[str, Any], message: str) -> None:
        lines = {"mv": ("src", TRACE, 9.0), "a0": ("mv", TRACE, 9.0), "a1": ("a0", TRACE, 9.0)}
        lines |= {"b0": ("mv", TRACE, 9.0), "b1": ("b0", TRACE, 9.0)}
        case = small_case(lines, PEOPLE, np.zeros(6), np.ones(6), np.zeros(6), feeder=feeder)
        with pytest.raises(ao.InputError, match=message):
            ao.simulate(case, "amm", tiers="two")

    def test_a_feeder_that_contains_the_source_is_named(self, mv33lv: Case) -> None:
        case = two_feeders(np.ones(6), np.zeros(6))
        tables = case.tables()
        tables["buses"]["feeder"] = "all"
        with pytest.raises(ao.InputError, match="LV feeder 'all' contains the source"):
            split(from_tables(name="lv", **tables))


class TestStates:
    MEMBER = split(two_feeders(np.ones(6), np.zeros(6)))[0].member

    def test_energies_add_up_and_memories_are_means_weighted_by_requests(self) -> None:
        shortage = np.array([[0.1, 0.2, 0.3, 0.4, 0.6, 0.7], [0.0, 0.0, 0.9, 0.0, 0.0, 0.0]])
        energy = np.arange(12.0).reshape(2, 6)
        weight = np.array([[1.0, 3.0, 0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 5.0, 1.0, 1.0, 0.0]])
        whole = FairnessState(shortage, energy, 2 * energy, 3 * energy)
        group = whole.aggregated(self.MEMBER, weight)
        assert_allclose(group.shortage, [[0.175, 0.5, 0.7], [0.9, 0.0, 0.0]])
        assert_allclose(group.served_kwh, [[0 + 1 + 2, 3 + 4, 5], [6 + 7 + 8, 9 + 10, 11]])
        assert_allclose(group.requested_kwh, 2 * group.served_kwh)
        part = whole.select(np.array([3, 4]))
        assert_allclose(part.shortage, shortage[:, 3:5])
        assert isinstance(ServedState.fresh(6).aggregated(self.MEMBER, weight), ServedState)

    def test_arrays_of_participants_and_single_numbers(self) -> None:
        @dataclass(frozen=True, eq=False)
        class Own(ao.State):
            level: Any
            clock: Any

        whole = Own(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 7.0)
        group = whole.aggregated(self.MEMBER, np.ones((2, 6)))
        assert_allclose(group.level, [2.0, 4.5, 6.0])
        assert group.clock == whole.select(np.array([0])).clock == 7.0


class TestAgainstJoint:
    def test_the_scarce_week(self, mv33lv: Case) -> None:
        """What is left is each feeder by itself, but for eight intervals in which weights of feeders meet a voltage."""
        joint, two = both(mv33lv, "amm:alpha=0", steps=slice("2016-05-23", "2016-05-29"))
        assert joint.summary["curtailed_mwh"] > 10
        assert difference(joint, two) < 1e-5
        assert two.summary["repaired_steps"] == 0
        assert_allclose(two.allocation.import_price, joint.allocation.import_price, rtol=0, atol=1e-12)
        joint, two = both(mv33lv, steps=slice("2016-05-23", "2016-05-26"))
        assert served_mwh(two) == pytest.approx(served_mwh(joint), rel=2e-4)
        apart = np.abs(two.allocation.export_kw - joint.allocation.export_kw).max(axis=1) > 1e-3
        assert np.sum(apart) <= 8
        assert difference(joint, two) < 0.02

    @pytest.mark.parametrize(
        ("squeeze", "loss", "unfair"), [((0.08,), 1e-4, 2e-3), ((1.0, 3.0, 1.06), 0.03, 0.05)], ids=["flow", "voltage"]
    )
    def test_a_scarce_upper_tier(self, mv33lv: Case, squeeze: Any, loss: float, unfair: float) -> None:
        """Lines of the upper tier bind, or voltages in the feeders that the exports of others raise."""
        first, _ = mv33lv.span("2016-05-24")
        steps = slice(first + 22, first + 27)
        joint, two = both(squeezed(mv33lv, *squeeze), steps=steps)
        assert served_mwh(joint) < 0.99 * served_mwh(ao.simulate(mv33lv, "amm", steps=steps))
        assert served_mwh(two) >= (1 - loss) * served_mwh(joint)
        assert abs(two.summary["jain_feeder"] - joint.summary["jain_feeder"]) < unfair

    @pytest.mark.parametrize("trunk", [10.0, 1000.0])
    @pytest.mark.parametrize("r_ohm", [TRACE, 0.15])
    def test_one_feeder_only(self, trunk: float, r_ohm: float) -> None:
        """Its own use moves its voltages in its own match; the grant is all that the trunk carries."""
        lines = {"mv": ("src", r_ohm, trunk), "a0": ("mv", TRACE, 30.0), "a1": ("a0", r_ohm, 1000.0)}
        rng = np.random.default_rng(3)
        imports = rng.uniform(0, 20, (6, 4)) * (np.arange(6) < 3)[:, None]
        exports = rng.uniform(0, 20, (6, 4)) * (np.arange(6) >= 3)[:, None]
        where = ["a0", "a1", "a1", "a1"]
        case = small_case(lines, where, rng.uniform(0, 1, (6, 4)), imports, exports, feeder={"a0": "A", "a1": "A"})
        joint, two = both(case)
        assert joint.summary["unserved_mwh"] > 0.001
        assert joint.summary["curtailed_mwh"] > 0.001
        assert difference(joint, two) < 1e-6

    def test_a_trunk_is_shared_as_by_the_joint_match_where_feeders_are_alike(self) -> None:
        """Before anybody remembers anything, everybody gets the same ratio."""
        imports = np.array([4.0, 2.0, 6.0, 3.0, 9.0, 8.0])
        _, two = both(two_feeders(imports, np.zeros(6), trunk_kva=16.0), steps=1)
        assert_allclose(two.allocation.import_kw[0], imports / 2, rtol=1e-5)

    def test_a_feeder_is_granted_no_more_than_it_hosts(self) -> None:
        imports = np.array([4.0, 2.0, 6.0, 3.0, 9.0, 8.0])
        _, two = both(two_feeders(imports, np.zeros(6), trunk_kva=20.0, lv_kva=3.0), steps=1)
        feeder = two.allocation.import_kw[0, :3]
        assert feeder.sum() == pytest.approx(3.0, rel=1e-4)
        assert two.allocation.import_kw[0].sum() == pytest.approx(20.0, rel=1e-4)
        assert_allclose(two.allocation.import_kw[0, 3:] / imports[3:], 17 / 20, rtol=1e-4)

    def test_a_feeder_that_went_short_is_favoured(self) -> None:
        """A's transformer cuts it in the first intervals; then the trunk is scarce, and A's memory counts."""
        imports = np.tile([4.0, 4.0, 4.0, 6.0, 6.0, 1.0], (8, 1))
        exports = np.zeros((8, 6))
        case = two_feeders(imports, exports, trunk_kva=18.0, lv_kva=3.0)
        run = ao.simulate(case, AMM(), tiers="two")
        wide = two_feeders(imports, exports, trunk_kva=18.0)
        fresh = ao.simulate(wide, AMM(), tiers="two", steps=1).allocation.import_kw[0]

        @dataclass(frozen=True)
        class After(AMM):
            def initial_state(self, case: Case) -> FairnessState:
                return run.state

        after = ao.simulate(wide, After(), tiers="two", steps=1).allocation.import_kw[0]
        assert after[:3].sum() > fresh[:3].sum() + 0.5
        assert after.sum() == pytest.approx(fresh.sum(), rel=1e-4)

    def test_order_does_not_matter(self) -> None:
        case = squeezed(ao.load_case("synthetic:buses=200,days=2,seed=4"), 0.03)
        one, other = (ao.simulate(c, "amm", tiers="two", steps=slice(20, 60)) for c in (case, shuffled(case, 5)))
        place = [other.case.participant_names.index(name) for name in case.participant_names]
        assert one.summary["curtailed_mwh"] > 0.01
        assert difference(one, other, place) < 1e-5


def random_case(seed: int) -> Case:
    """Ratings, impedances, power factors, loads and requests at random: up to four feeders with strong coupling."""
    rng = np.random.default_rng(seed)
    lines, feeder = {}, {}
    for m in range(rng.integers(1, 3)):
        lines[f"mv{m}"] = (f"mv{m - 1}" if m else "src", rng.uniform(0, 0.1), rng.uniform(8, 40))
        for f in range(rng.integers(1, 3)):
            for b in range(rng.integers(1, 4)):
                above = f"l{m}{f}{b - 1}" if b else f"mv{m}"
                lines[f"l{m}{f}{b}"] = (above, rng.uniform(0, 0.3), rng.uniform(5, 20))
                feeder[f"l{m}{f}{b}"] = f"F{m}{f}"
    buses = [*feeder, *rng.choice(list(lines), 3)]
    factor = rng.choice([1.0, 0.95, -0.9], (2, len(buses)))
    shape = (4, len(buses))
    return small_case(
        lines,
        buses,
        rng.uniform(-0.4, 0.4, shape),
        rng.uniform(0, 12, shape) * (rng.random(shape) < 0.7),
        rng.uniform(0, 12, shape) * (rng.random(shape) < 0.5),
        feeder=feeder,
        x_ohm=0.05,
        power_factor=0.95,
        power_factor_import=factor[0],
        power_factor_export=factor[1],
    )


class TestAlwaysHosted:
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(seed=st.integers(0, 10_000))
    def test_random_networks(self, seed: int) -> None:
        run = ao.simulate(random_case(seed), AMM(), tiers="two")
        assert run.summary["failed_steps"] == 0
        assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0

    def test_random_networks_lose_little_in_sum(self) -> None:
        runs = [both(random_case(seed), AMM()) for seed in range(8)]
        joint, two = (sum(served_mwh(pair[i]) for pair in runs) for i in (0, 1))
        assert 0.97 * joint <= two

    def test_what_the_whole_does_not_host_is_cut_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The safety net, under a match that overdoes it: every customer cut alike, nothing enlarged."""
        imports = np.array([4.0, 2.0, 6.0, 3.0, 9.0, 8.0])
        too_much = np.stack([imports * np.array([1, 0.5, 1, 1, 1, 0.5]), np.zeros(6)])
        monkeypatch.setattr(TwoTierMatching, "_matched", lambda *_: too_much)
        _, two = both(two_feeders(imports, np.zeros(6), trunk_kva=13.5), steps=2)
        assert two.summary["repaired_steps"] == 2
        assert_allclose(two.allocation.import_kw[0], too_much[0] / 2, rtol=1e-4)

    def test_on_ac_too(self) -> None:
        pytest.importorskip("power_grid_model")
        case = squeezed(ao.load_case("synthetic:buses=150,days=1,seed=2"), 0.03)
        run = ao.simulate(case, "amm", tiers="two", ac="secure", steps=slice(20, 30))
        assert run.summary["curtailed_mwh"] > 0.001
        assert run.summary["ac_thermal_violations"] == run.summary["ac_voltage_violations"] == 0


class TestCompare:
    def test_the_price_of_decomposition(self, tmp_path: Any) -> None:
        case = squeezed(ao.load_case("synthetic:buses=200,days=1,seed=4"), 0.03)
        result = ao.compare(case, ["no_control", "amm"], steps=slice(20, 40), tiers="both")
        assert list(result.runs) == ["no_control", "amm", "amm@two"]
        joint, two = (result.table.loc[label] for label in ("amm", "amm@two"))
        served = [served_mwh(result.runs[label]) for label in ("amm", "amm@two")]
        assert served[1] > 0.1
        assert two["decomposition_energy_pct"] == pytest.approx(100 * (1 - served[1] / served[0]), abs=1e-9)
        assert two["decomposition_jain"] == pytest.approx(joint["jain_feeder"] - two["jain_feeder"], abs=1e-9)
        assert pd.isna(joint["decomposition_energy_pct"])
        assert list(result.table.columns[:2]) == ["requested_import_mwh", "unserved_mwh"]
        result.save(tmp_path / "out")
        again = open_comparison(tmp_path / "out")
        assert [run.tiers for run in again.runs.values()] == ["joint", "joint", "two"]
        assert list(ao.compare(case, ["no_control", "amm"], steps=2, tiers="two").runs) == ["no_control", "amm@two"]
