"""Layers that are derived from the networks of cases of every kind; more of layers is in tests/market."""

from __future__ import annotations

import numpy as np
import pytest

import amm_opt as ao


@pytest.mark.parametrize("name", ["mv33lv", "pjm5", "ieee57", "synthetic:buses=150,days=1,seed=1"])
def test_every_case_has_layers_and_each_customer_a_place_in_each(name: str) -> None:
    layers = (case := ao.load_case(name)).layers
    assert len(layers.of_branch) == len(case.feeder.branch_names)
    everything = np.full(case.n_participants, len(layers.areas) - 1)
    for number in range(len(layers.names)):
        zone = layers.zones(case.bus, number)
        assert np.all(layers.layer[zone] >= number)
        assert np.all(layers.holds(zone, case.bus))
    np.testing.assert_array_equal(zone, everything)
