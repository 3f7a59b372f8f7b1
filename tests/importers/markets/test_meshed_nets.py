"""Busbars of transmission networks, as SimBench has them: switches within one bus are none."""

import pandas as pd
import pytest

import amm_opt as ao


def test_an_open_switch_beside_a_closed_one_is_left_out_of_a_mesh() -> None:
    """Buses b and c are one across a closed switch; the open one between them leads from a bus to itself."""
    net = {
        "bus": pd.DataFrame({"vn_kv": [220.0, 220.0, 220.0], "name": ["a", "b", "c"]}),
        "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.0]}),
        "line": pd.DataFrame(
            {"from_bus": [0, 0], "to_bus": [1, 2], "length_km": 9.0, "r_ohm_per_km": 0.0, "x_ohm_per_km": [0.3, 0.1]}
        ),
        "switch": pd.DataFrame(
            {"bus": [1, 1], "element": [2, 2], "et": "b", "closed": [True, False], "name": ["s", "t"]}
        ),
        "load": pd.DataFrame({"bus": [2], "p_mw": [40.0], "q_mvar": 0.0}),
    }
    case = ao.from_pandapower(net, name="bars", meshed=True)
    assert sorted(case.feeder.bus_names) == ["a", "b"]
    assert len(case.feeder.ends[0]) - 1 == 2  # the two lines
    assert "1 switches or open branches within one bus: t" in " ".join(case.report.left_out)


def test_a_three_winding_transformer_that_shifts_phases_is_refused_in_a_loop_alone() -> None:
    """Outside of loops it turns angles alone; in one, ``dc`` would leave its flow out."""
    sides = {"sn_{}_mva": 40.0, "vk_{}_percent": 10.0, "vkr_{}_percent": 0.5}
    windings = {c.format(side): v for c, v in sides.items() for side in ("hv", "mv", "lv")}
    windings |= {"hv_bus": 0, "mv_bus": 1, "lv_bus": 2, "vn_hv_kv": 110.0, "vn_mv_kv": 20.0, "vn_lv_kv": 10.0}
    net = {
        "bus": pd.DataFrame({"vn_kv": [110.0, 20.0, 10.0], "name": ["a", "b", "c"]}),
        "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.0]}),
        "trafo3w": pd.DataFrame([{**windings, "name": "T", "shift_lv_degree": 30.0}]),
        "load": pd.DataFrame({"bus": [2], "p_mw": [4.0], "q_mvar": 0.0}),
    }
    for meshed in (False, True):
        said = " ".join(ao.from_pandapower(net, name="no loop", meshed=meshed).report.left_out)
        assert "phase shifts of 1 transformer: they turn angles alone" in said
    beside = pd.DataFrame([{**windings, "name": "U"}])
    net["trafo3w"] = pd.concat([net["trafo3w"], beside], ignore_index=True)
    with pytest.raises(ao.InputError, match=r"sum to 30 degrees, and dc has no phase shifters.*T lv \(30\)"):
        ao.from_pandapower(net, name="loop", meshed=True)
    net["trafo3w"]["shift_lv_degree"] = 30.0
    ao.from_pandapower(net, name="alike", meshed=True)


@pytest.mark.parametrize(
    "tap",
    [
        {"tap_changer_type": "Ideal", "tap_step_degree": 5.0},
        {"tap_phase_shifter": True, "tap_step_degree": 5.0},
        {"tap_changer_type": "Ratio", "tap_step_percent": 1.0, "tap_step_degree": 60.0},
    ],
    ids=str,
)
def test_a_tap_that_turns_the_angle_is_said_and_refused_in_a_mesh(tap: dict[str, object]) -> None:
    sizes = {"sn_mva": 40.0, "vn_hv_kv": 110.0, "vn_lv_kv": 20.0, "vk_percent": 10.0, "vkr_percent": 0.5}
    at = {"hv_bus": 0, "lv_bus": 1, "name": "T", "tap_side": "hv", "tap_neutral": 0}

    def net(position: int) -> dict[str, pd.DataFrame]:
        return {
            "bus": pd.DataFrame({"vn_kv": [110.0, 20.0], "name": ["a", "b"]}),
            "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.0]}),
            "trafo": pd.DataFrame([{**sizes, **at, **tap, "tap_pos": position}]),
            "load": pd.DataFrame({"bus": [1], "p_mw": [4.0], "q_mvar": 0.0}),
        }

    assert "angles of tap positions of 1 transformer" in " ".join(ao.from_pandapower(net(3), name="x").report.left_out)
    with pytest.raises(ao.InputError, match="trafo 'T': tap_pos turns the angle"):
        ao.from_pandapower(net(3), name="x", meshed=True)
    ao.from_pandapower(net(0), name="x", meshed=True)
