"""Boxes of a run on a network model of boxes: what is proved of each interval, and the power at the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import checked_kind
from amm_opt.grid import Grid
from amm_opt.network import ACNetwork, ACState, Certified
from amm_opt.network.excess import Names, excesses
from amm_opt.simulation.results.run import Run
from amm_opt.tolerances import SERVED_SLACK, THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU

BLOCK_STEPS = 96


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of a run: flexible import from nothing to what is served, flexible export likewise, (T, n) each, kW.

    Raises:
        InputError: where the run was not made on a network model of boxes, or scheduled batteries.
    """

    run: Run
    network: Any = None

    def __post_init__(self) -> None:
        checked_kind(self.run, Run, "run")
        if not isinstance(self.model, Certified):
            name = self.run.network
            raise InputError(f"a run on {name} has no certified boxes: simulate(..., network='certified')")
        if self.run.allocation.battery_kw is not None:
            raise InputError("batteries have boxes of their own: leave them out of the case")

    @cached_property
    def model(self) -> Any:
        """The network model."""
        return self.run.network_model(self.network)

    @cached_property
    def grid(self) -> Grid:
        """The case on it."""
        return Grid(self.run.case, self.model)

    @cached_property
    def import_kw(self) -> FloatArray:
        """(T, n) the most import of every box."""
        return self.run.allocation.import_kw

    @cached_property
    def export_kw(self) -> FloatArray:
        """(T, n) the most export of every box."""
        return self.run.allocation.export_kw

    @cached_property
    def _ac(self) -> ACNetwork:
        return ACNetwork(self.run.case.feeder, threads=-1)

    def flow(self, steps: Any, import_kw: FloatArray, export_kw: FloatArray) -> ACState:
        """AC power flow of some of the run's intervals with these flexible powers, (K, n) each."""
        return self._ac.flow(*self.grid.at_nodes(self.run.requests.select(steps), import_kw, export_kw))

    def keeps(self, state: ACState) -> BoolArray:
        """(K,) where an AC power flow breaks no limit."""
        thermal, voltage = excesses(self.model, state)
        kept = np.all(thermal <= THERMAL_VIOLATION, axis=-1) & np.all(voltage <= VOLTAGE_VIOLATION_PU, axis=-1)
        return np.asarray(kept & state.solved)

    def blocks(self) -> Iterator[slice]:
        """The run's intervals, some at a time."""
        for first in range(0, len(self.run.times), BLOCK_STEPS):
            yield slice(first, min(first + BLOCK_STEPS, len(self.run.times)))


def head_kw(state: ACState, model: Certified) -> FloatArray:
    """(...) active power that the source delivers, kW; negative where the network feeds back."""
    first = np.flatnonzero(model.feeder.parent == 0)
    shunt = model.feeder.injected_kva[0].real.sum()
    return np.asarray(state.p_sent_kw[..., first].sum(axis=-1) - shunt * state.v_pu[..., 0] ** 2)


def certificates(run: Run, *, network: Any = None) -> pd.DataFrame:
    """What is proved of the box of every interval of a run on ``network="certified"``.

    The box: everybody's flexible import anywhere between nothing and what is served, flexible export likewise, on top
    of inflexible load. Columns:

    - ``certified``: whether every point of it is proved to keep every limit of the balanced equivalent;
    - ``radius``: an upper bound of the spectral radius of the branch flow equations' derivative; below 1 every point
      has one AC solution within the proved bounds, and a sweep finds it;
    - ``v_low_pu``, ``v_high_pu``, ``loading``: proved bounds of the lowest and the highest voltage, and of the largest
      loading as a fraction of its limit: a current, a power or an active power;
    - ``tightest``: the limit that the bounds come closest to, as a fraction of its limit or band;
    - ``head_low_kw``, ``head_kw``, ``head_high_kw``: AC power at the head of the network, positive where it imports:
      with all of the export and no import, with all of both, with all of the import and no export. The flexibility
      band is from the first to the last.

    Args:
        network: as for ``verify``.

    Raises:
        InputError: where the run was made on another kind of network model, or scheduled batteries.
    """
    boxes = Boxes(run, network)
    blocks = [_block(boxes, steps) for steps in boxes.blocks()]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return pd.DataFrame(columns, index=pd.Index(run.times, name="time"))


def _block(boxes: Boxes, steps: slice) -> dict[str, Any]:
    model, grid = boxes.model, boxes.grid
    x, y = boxes.import_kw[steps], boxes.export_kw[steps]
    proved = model.certificate(*grid.injected(boxes.run.requests.select(steps), x, y))
    u, of = model.bounded(proved), model.quantities
    used = model.use(proved)
    low, high = (np.sqrt(w[..., 1:]) for w in (proved.w_low, proved.w_high))
    names = Names(model)
    nothing = np.zeros_like(x)
    heads = [head_kw(boxes.flow(steps, *p), model) for p in ((nothing, y), (x, y), (x, nothing))]
    closest = np.argmax(np.where(np.isnan(used), -np.inf, used), axis=-1)
    return {
        "certified": grid.within(u, (of.lower, of.upper), SERVED_SLACK),
        "radius": proved.radius,
        "v_low_pu": low.min(axis=-1),
        "v_high_pu": high.max(axis=-1),
        "loading": np.max(used, axis=-1, where=of.kind != "voltage", initial=0.0),
        "tightest": np.array(
            [
                names.bus(of.element[k]) if of.kind[k] == "voltage" else names.branch(of.element[k])
                for k in closest.tolist()
            ],
            dtype=object,
        ),
        "head_low_kw": heads[0],
        "head_kw": heads[1],
        "head_high_kw": heads[2],
    }
