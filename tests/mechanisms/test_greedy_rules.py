"""The sequential rules of GreedyDOE, by hand and against one participant at a time."""

from __future__ import annotations

import numpy as np
import pytest
from small import TRACE, cleared, first_interval, grid_of, mixed_case, network_rows, one_transformer, small_case

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from formulations import GreedyDOE
from formulations.parts.sweeps.sequential import CUT

LARGEST = GreedyDOE(enrolled="requesting", rule="largest_request_first")
WORST = GreedyDOE(enrolled="requesting", rule="worst_bus_first")


def limits(case: Case, mechanism: GreedyDOE, direction: str = "import") -> FloatArray:
    return np.asarray(cleared(case, mechanism)[direction]["envelope"])


def close(found: FloatArray, expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_largest_request_is_first_by_hand() -> None:
    """30 kVA: 12 and 12 for the two largest requests, what is left for the third, nothing for the last."""
    case = one_transformer(30, [0.0] * 4, [5.0, 9.0, 2.0, 7.0], [0.0] * 4, connection_import_kw=12.0)
    close(limits(case, LARGEST), [6, 12, 0, 12])
    # inflexible load counts first and is part of the connection's limit
    case = one_transformer(30, [1.0, 4.0, 2.0, 0.0], [5.0, 8.0, 2.0, 7.0], [0.0] * 4, connection_import_kw=12.0)
    close(limits(case, LARGEST), [30 - 7 - 8 - 12, 8, 0, 12])


def test_equal_requests_rise_together() -> None:
    case = one_transformer(30, [0.0] * 3, [6.0, 6.0, 8.0], [0.0] * 3, connection_import_kw=[20.0, 10.0, 15.0])
    close(limits(case, LARGEST), [10, 5, 15])


def test_those_who_do_not_ask_come_last() -> None:
    case = one_transformer(30, [0.0] * 3, [6.0, 0.0, 0.0], [0.0] * 3, connection_import_kw=[20.0, 10.0, 30.0])
    close(limits(case, GreedyDOE(enrolled="all", rule="largest_request_first")), [20, 2.5, 7.5])
    close(limits(case, LARGEST), [20, 0, 0])


def line() -> Case:
    """The far end uses the voltage four times as much: near + 4 far <= 152 kW, connections of 100."""
    lines = {"near": ("src", 0.1, 1000.0), "far": ("near", 0.3, 1000.0)}
    return small_case(lines, ["near", "far"], [[0, 0]] * 2, [[60, 30], [30, 60]], [[0, 0]] * 2)


def test_order_decides_at_a_voltage_limit() -> None:
    grid, case = grid_of(line()), line()
    near_first, far_first = (cleared(case, LARGEST, k)["import"]["envelope"] for k in (0, 1))
    close(near_first, [100, 52 / 4])
    close(far_first, [0, 38])
    assert grid.n == 2


def test_another_feeder_goes_on_when_one_is_full() -> None:
    lines = {"mv": ("src", TRACE, 100.0), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 20.0)}
    kw = {"feeder": {"a": "A", "b": "B"}, "connection_import_kw": 15.0}
    case = small_case(lines, ["a", "a", "b", "b"], [0] * 4, [9, 8, 7, 6], [0] * 4, **kw)
    close(limits(case, LARGEST), [10, 0, 15, 5])


def one_at_a_time(case: Case, direction: str) -> FloatArray:
    """Everyone in turn takes what every row still leaves, one participant and one division per row."""
    grid, requests = grid_of(case), first_interval(case)
    gain = network_rows(grid)[DIRECTIONS.index(direction)]
    lower, upper = grid.limits(requests)
    use = grid.quantities(requests, 0.0, 0.0)
    base = requests.inflexible_kw if direction == "export" else -requests.inflexible_kw
    request = requests.request_kw(direction)
    most = np.where(request > 0, np.maximum(case.connection_kw(direction) + base, 0), 0)
    x = np.zeros(grid.n)
    for i in np.argsort(-request):
        slope = gain[:, i]
        room = np.where(slope > 0, upper - use, lower - use)[np.abs(slope) > 1e-12]
        x[i] = np.clip(np.min(room / slope[np.abs(slope) > 1e-12]), 0, most[i])
        use = use + slope * x[i]
    return x


@pytest.mark.parametrize("direction", ["import", "export"])
@pytest.mark.parametrize("seed", range(8))
def test_sequential_filling_is_one_at_a_time(seed: int, direction: str) -> None:
    case = mixed_case(seed)
    expected = one_at_a_time(case, direction)
    np.testing.assert_allclose(limits(case, LARGEST, direction), expected, atol=2e-3)
    assert expected.sum() > 10


def test_an_overload_cuts_everyone_below_in_steps() -> None:
    """300 kW of connections behind 30 kVA: 45 steps of 2 % leave a tenth; 200 kW: 43 steps leave 28 kW."""
    assert CUT == 0.02
    close(limits(one_transformer(30, [0.0] * 3, [20.0] * 3, [0.0] * 3), WORST), [10, 10, 10])
    case = one_transformer(30, [0.0] * 3, [20.0] * 3, [0.0] * 3, connection_import_kw=[100.0, 50.0, 50.0])
    close(limits(case, WORST), [14, 7, 7])
    # the other feeder is not cut
    lines = {"a": ("src", TRACE, 30.0), "b": ("src", TRACE, 200.0)}
    case = small_case(lines, ["a", "a", "b"], [0] * 3, [20] * 3, [0] * 3, feeder={"a": "A", "b": "B"})
    close(limits(case, WORST), [14, 14, 100])


def test_a_voltage_cuts_the_most_affected_bus_first() -> None:
    """near + 4 far <= 152: the far end is cut from 100 to 12 in steps of 2, the near one is not."""
    close(limits(line(), WORST), [100, 12])
    close(limits(line(), GreedyDOE(rule="worst_bus_first")), [100, 12])


def test_the_rest_is_cut_when_the_worst_bus_has_nothing_left() -> None:
    """Inflexible load at the far end leaves less than the near connection: near + 4 far <= 152 - 4 * 20."""
    lines = {"near": ("src", 0.1, 1000.0), "far": ("near", 0.3, 1000.0)}
    case = small_case(lines, ["near", "far"], [0, 20], [60, 30], [0, 0])
    close(limits(case, WORST), [72, 0])
    # unavoidable: the far end is beyond the band by its inflexible load, so nobody may use more
    case = small_case(lines, ["near", "far"], [0, 50], [60, 30], [0, 0])
    close(limits(case, WORST), [0, 0])
    close(limits(case, LARGEST), [0, 0])
