"""Columns of runs that were verified by AC power flow."""

from __future__ import annotations

from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns.kinds import ac, energy, intervals, pairs

OF_REPLAYS = (
    Column(
        "worst_ac_thermal_excess_pct",
        ac(lambda ac: 100.0 * ac.violations.worst_thermal.excess),
        "%",
        "percent",
        "lower",
        "largest excess over a rating among the AC violations, in % of it",
        "worst\nexcess\nAC, % of\nrating",
    ),
    Column(
        "worst_ac_voltage_excess_pu",
        ac(lambda ac: ac.violations.worst_voltage.excess),
        "pu",
        "voltage",
        "lower",
        "largest distance outside a band among the AC violations",
        "worst\nexcess\nAC, pu",
    ),
    pairs(
        "ac_unavoidable_violations",
        ac(lambda ac: ac.violations.unavoidable),
        "pairs beyond a limit on AC through inflexible load only",
        "un-\navoid-\nable\nAC",
        better=None,
    ),
    intervals(
        "ac_unsolved_steps",
        ac(lambda ac: ac.violations.unsolved),
        "without a power-flow solution",
        "no AC\nsolu-\ntion",
    ),
    Column(
        "voltage_error_worst_pu",
        ac(lambda ac: ac.voltage_error_pu.largest),
        "pu",
        "voltage",
        "lower",
        "largest difference of the network model's voltage from that of AC under the same injections",
        "voltage\nerror\nworst\npu",
    ),
    Column(
        "voltage_error_rms_pu",
        ac(lambda ac: ac.voltage_error_pu.rms),
        "pu",
        "voltage",
        "lower",
        "root mean square of that difference over all buses but the source",
        "voltage\nerror\nrms\npu",
    ),
    Column(
        "flow_error_worst_pct",
        ac(lambda ac: 100.0 * ac.flow_error.largest),
        "% of rating",
        "percent",
        "lower",
        "largest difference of the network model's loading from that of AC",
        "flow\nerror\nworst, %\nof rating",
        ".1f",
    ),
    Column(
        "flow_error_rms_pct",
        ac(lambda ac: 100.0 * ac.flow_error.rms),
        "% of rating",
        "percent",
        "lower",
        "root mean square of that difference over all rated branches",
        "flow\nerror\nrms, %\nof rating",
    ),
    energy("ac_losses_mwh", ac(lambda ac: ac.losses_kwh / 1000.0), "lower", "series losses of all branches", "losses"),
)
"""Runs that were verified have these as well."""
