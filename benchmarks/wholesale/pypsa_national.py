"""The windows of ``national`` by amm-opt and by PyPSA, in one run: the same network, offers and batteries, 72/24 hours.

    pip install pypsa        # of the extra bench; 1.4.0 was compared
    python benchmarks/wholesale/pypsa_national.py --days 7 --first 150

PyPSA gets every window from the contents that amm-opt's run had before it, so that both solve the same problem: shed
energy and reserve are no terms of PyPSA's, and so windows are compared in which nothing is shed and reserve is held, as
a row that is added to its model. HiGHS solves both. Costs are of whole windows, at everybody's offer, with what missed
must-run output and batteries that end below half cost. CPU seconds are of one thread each; PyPSA's are those of
building and solving a window's model, amm-opt's those of the whole run over the windows compared, with equal shares,
prices, audits and two shorter windows at the end.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.solve.routes.window.route import HorizonRoute

CASE, SPEC, WINDOW, COMMITTED = "national", "dispatch:source_price=none", 144, 48
RESERVE, MISSED, CONTENT_PRICE, BAND, MW = 0.1, 10.0, 0.005, (0.05, 0.95), 1e-3


def network(case: ao.Case, first: int, content_kwh: FloatArray) -> Any:
    """A window in PyPSA: MW, currency per MWh."""
    import pypsa

    requests, people, feeder = case.requests(first, first + WINDOW), case.participants, case.feeder
    n = pypsa.Network(snapshots=range(WINDOW))
    n.snapshot_weightings = n.snapshot_weightings.astype(float) * case.dt_h
    n.add("Bus", feeder.bus_names, v_nom=feeder.vn_kv)
    start, stop = (np.array(feeder.bus_names)[feeder.ends[end, 1:]] for end in (0, 1))
    x = [z[0, 0].imag for z in feeder.z_ohm[1:]]
    rating = np.where(np.isfinite(feeder.rating_kva[1:]), MW * feeder.rating_kva[1:], np.inf)
    n.add("Line", feeder.branch_names[1:], bus0=start, bus1=stop, x=x, s_nom=rating)
    names, bus = np.array(case.participant_names), people["bus"].to_numpy()
    asked, can = MW * requests.import_request_kw, MW * requests.export_request_kw
    loads, plants, stores = asked.max(axis=0) > 0, can.max(axis=0) > 0, case.batteries.participant
    n.add("Load", names[loads], bus=bus[loads], p_set=pd.DataFrame(asked[:, loads], n.snapshots, names[loads]))
    offer, most = 1e3 * np.nan_to_num(case.own_prices[0][1]), can.max(axis=0)
    share = pd.DataFrame(can[:, plants] / most[plants], n.snapshots, names[plants])
    n.add("Generator", names[plants], bus=bus[plants], p_nom=most[plants], p_max_pu=share, marginal_cost=offer[plants])
    n.add("Carrier", "battery")
    size, power, eta = MW * case.batteries.size_kwh, MW * case.batteries.power_kw, case.batteries.efficiency
    cells = names[stores] + " cells"
    n.add("Bus", cells, carrier="battery")
    n.add("Store", cells, bus=cells, e_nom=size, e_initial=MW * content_kwh, e_min_pu=BAND[0], e_max_pu=BAND[1])
    n.add("Link", names[stores] + " in", bus0=bus[stores], bus1=cells, p_nom=power, efficiency=eta)
    given = {"marginal_cost": offer[stores] * eta, "efficiency": eta, "p_nom": power / eta}
    n.add("Link", names[stores] + " out", bus0=cells, bus1=bus[stores], **given)
    n.optimize.create_model(include_objective_constant=False)
    _more(n, case, asked, can, names)
    return n


def _more(n: Any, case: ao.Case, asked: FloatArray, can: FloatArray, names: FloatArray) -> None:
    """Reserve, must-run plants at a cost, and what batteries lack of half their size at the end."""
    m, stores = n.model, names[case.batteries.participant]
    eta, power = case.batteries.efficiency, MW * case.batteries.power_kw
    output, flow = m["Generator-p"], m["Link-p"]
    into, out = (flow.sel(name=[f"{s} {way}" for s in stores]) for way in ("in", "out"))
    label = pd.Index([f"{s} out" for s in stores], name="name")
    spare = can.sum(axis=1) + power.sum() - RESERVE * asked.sum(axis=1)
    used = output.sum("name") - into.sum("name") + (out * pd.Series(eta, label).to_xarray()).sum("name")
    m.add_constraints(used <= pd.Series(spare, n.snapshots).to_xarray(), name="reserve")
    must = case.participants["must_run_kw"].to_numpy(float) * MW
    who = np.flatnonzero(must)
    least = pd.DataFrame(np.minimum(must, can)[:, who], n.snapshots, pd.Index(names[who], name="name"))
    missed = m.add_variables(lower=0, coords=[n.snapshots, least.columns], name="missed")
    m.add_constraints(output.sel(name=names[who]) + missed >= least, name="must run")
    half = pd.Series(0.5 * MW * case.batteries.size_kwh, pd.Index([f"{s} cells" for s in stores], name="name"))
    short = m.add_variables(lower=0, coords=[half.index], name="short")
    end = m["Store-e"].sel(snapshot=n.snapshots[-1])
    m.add_constraints(short + end >= half, name="half")
    dearest = 1e3 * float(np.nanmax(case.own_prices[0][1]))
    m.objective = m.objective + case.dt_h * MISSED * dearest * missed.sum() + 1e3 * CONTENT_PRICE * short.sum()


def main() -> None:
    """Windows side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--first", type=int, default=150, help="first day")
    given = parser.parse_args()
    case, first = ao.load_case(CASE), COMMITTED * given.first
    plans: list[float] = []
    solve = HorizonRoute.solve

    def kept(route: Any, *args: Any) -> Any:
        solution = solve(route, *args)
        plans.append(solution.objective * case.dt_h)
        return solution

    HorizonRoute.solve = kept  # type: ignore[method-assign]
    began = time.process_time()
    run = ao.simulate(case, SPEC, steps=slice(first, first + COMMITTED * (given.days + 2)), network="dc")
    ours_s = (time.process_time() - began) / given.days
    assert len(plans) == given.days + 2, "something is shed or missing: choose other days"
    power, eta = run.dataset["battery_kw"].to_numpy()[:, case.batteries.participant], case.batteries.efficiency
    gained = eta * np.maximum(-power, 0.0) - np.maximum(power, 0.0) / eta
    stored = case.batteries.initial_kwh + case.dt_h * np.cumsum(gained, axis=0)
    print("| window from | amm-opt, million | PyPSA, million | relative difference | PyPSA, CPU s |")
    print("|---|---|---|---|---|")
    theirs_s = []
    for k, ours in enumerate(plans[: given.days]):
        at = first + k * COMMITTED
        content = case.batteries.initial_kwh if k == 0 else stored[k * COMMITTED - 1]
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n = network(case, at, content)
            status = n.model.solve(solver_name="highs", io_api="direct", threads=1, log_to_console=False)
        theirs_s.append(time.process_time() - began)
        assert status[0] == "ok", status
        cost = float(n.model.objective.value)
        numbers = f"{ours / 1e6:.6f} | {cost / 1e6:.6f} | {ours / cost - 1:.1e} | {theirs_s[-1]:.2f}"
        print(f"| {case.times[at]:%Y-%m-%d} | {numbers} |")
    print(f"\nmean CPU s of a window: amm-opt {ours_s:.2f}, PyPSA {np.mean(theirs_s):.2f}")


if __name__ == "__main__":
    main()
