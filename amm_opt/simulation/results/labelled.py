"""Runs as labelled arrays of xarray, which are read as far as they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.network import NetworkModel, NetworkState
from amm_opt.network.ac.power_flow import ACState
from amm_opt.simulation.stored.block import VARIABLES
from amm_opt.simulation.stored.store import RunStore

if TYPE_CHECKING:
    import xarray as xr

Read = Callable[[int, int], FloatArray]
"""Entries ``start .. stop - 1`` along the first axis."""
PHASES = ("a", "b", "c")
ON_NETWORK = {
    "voltage_pu": ("node", "pu", "voltage magnitude"),
    "p_kw": ("branch", "kW", "active power, positive from from_bus to to_bus: away from the source"),
    "q_kvar": ("branch", "kvar", "reactive power, positive from from_bus to to_bus"),
    "loading": ("branch", "1", "loading as a fraction of the rating; 0 where there is none"),
}
"""What the network model gives: dimension, unit and meaning."""
ENDS = ("from_bus", "to_bus")
"""Coordinates of a branch: from one to the other its power is positive, whichever is first in the table."""
UNITS = {"kwh": "kWh", "mwh": "MWh", "kw": "kW", "kva": "kVA", "h": "h", "min": "min", "s": "s", "pu": "pu", "pct": "%"}
"""Units of what a mechanism remembers, by the ending of its name (docs/notation.md); 1 for what has none."""


def dataset_of(store: RunStore, waits: bool, attributes: Mapping[str, str]) -> xr.Dataset:
    """What a run was asked for, what it served and what its mechanism remembers; see ``Run.dataset``."""
    import xarray as xr

    case, first = store.case, store.first

    def asked(read: Callable[[Requests], FloatArray]) -> Read:
        return lambda start, stop: read(case.requests(first + start, first + stop, waits=waits))

    def both(requests: Requests) -> FloatArray:
        return np.stack([requests.import_request_kw, requests.export_request_kw], axis=1)

    steps, n = store.steps, case.n_participants
    participants = ("time", "direction", "participant")
    about = {"units": "kW", "long_name": "flexible import asked for and export available"}
    variables = {
        "requested_kw": _lazy(participants, (steps, 2, n), asked(both), about),
        "inflexible_kw": _lazy(
            ("time", "participant"),
            (steps, n),
            asked(lambda requests: requests.inflexible_kw),
            {"units": "kW", "long_name": "inflexible net load"},
        ),
    }
    for name in store.names():
        variable = VARIABLES[name]
        about = {"units": variable.unit, "long_name": variable.meaning}
        variables[name] = _lazy(variable.dims, variable.shape(case, steps), _of(store, name), about)
    ends = [min(k + store.length, steps) - 1 for k in range(0, steps, store.length)]
    times = case.times[first : first + steps]
    coordinates: dict[str, Any] = {
        "time": ("time", times, {"long_name": "interval start"}),
        "direction": ("direction", list(DIRECTIONS), {"long_name": "seen from the participant"}),
        "participant": ("participant", list(case.participant_names), {"long_name": "participant"}),
        "feeder": ("feeder", list(case.feeder.lv_feeders), {"long_name": "LV feeder"}),
    }
    if states := _states(store, len(ends), n):
        variables |= states
        coordinates["after"] = ("after", times[ends], {"long_name": "start of the last interval of the block"})
    return xr.Dataset(variables, coordinates, dict(attributes))


def _of(store: RunStore, name: str) -> Read:
    return lambda start, stop: store.read(name, start, stop)


def _states(store: RunStore, blocks: int, n: int) -> dict[str, Any]:
    """What the mechanism remembers at the end of every block, an array for each name of its state."""
    first = next(store.results()).state.arrays()
    found = {}
    for name, array in first.items():
        named = {(2, n): ("direction", "participant"), (n,): ("participant",)}
        dims = named.get(array.shape, tuple(f"{name}_{k}" for k in range(array.ndim)))
        ending = name.rpartition("_")[2]
        about = {
            "units": UNITS.get(ending, "1"),
            "long_name": f"{name} of the mechanism's state, at the end of the block",
        }
        found[f"state_{name}"] = _lazy(("after", *dims), (blocks, *array.shape), _state(store, name), about)
    return found


def _state(store: RunStore, name: str) -> Read:
    return lambda start, stop: np.stack([r.state.arrays()[name] for r in islice(store.results(), start, stop)])


def _lazy(dims: tuple[str, ...], shape: tuple[int, ...], read: Read, attributes: Mapping[str, str]) -> Any:
    """A variable that is read when it is looked at, entry by entry of its first axis."""
    import xarray as xr
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Stored(BackendArray):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self.shape, self.dtype = shape, np.dtype(float)

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(key, shape, indexing.IndexingSupport.BASIC, self._read)

        def _read(self, key: tuple[Any, ...]) -> FloatArray:
            rows, rest = key[0], key[1:]
            if isinstance(rows, int | np.integer):
                return np.asarray(read(int(rows), int(rows) + 1)[(0, *rest)])
            places = range(shape[0])[rows]
            if not places:
                return np.zeros((0, *shape[1:]))[(slice(None), *rest)]
            low, high = min(places[0], places[-1]), max(places[0], places[-1])
            return np.asarray(read(low, high + 1)[np.array(places) - low][(slice(None), *rest)])

    return xr.Variable(dims, indexing.LazilyIndexedArray(Stored()), dict(attributes))


def on_network(store: RunStore, waits: bool, grid: Grid, start: int, stop: int, names: Sequence[str]) -> xr.Dataset:
    """Quantities of ``ON_NETWORK`` under what was served, in the network model; see ``Run.voltages``.

    Args:
        start, stop: intervals, counted within the run.
    """
    import xarray as xr

    model, feeder = grid.network, store.case.feeder
    branches = np.flatnonzero(model.branch > 0)
    parts: dict[str, list[FloatArray]] = {name: [] for name in names}
    length = max(1, min(store.length, grid.block_steps))
    allocation = store.allocation()
    for at in range(start, stop, length):
        some = slice(at, min(at + length, stop))
        served = allocation.select(some)
        asked = store.case.requests(store.first + some.start, store.first + some.stop, waits=waits)
        state = grid.state(asked, served.drawn_kw, served.injected_kw)
        for name, found in parts.items():
            found.append(_quantity(name, model, state, branches))
    phases = None if model.phase is None else [PHASES[k] for k in model.phase]
    nodes = _named([feeder.bus_names[k] for k in model.bus], phases)
    flows = _named([feeder.branch_names[k] for k in model.branch[branches]], phases and [phases[k] for k in branches])
    times = store.case.times[store.first + start : store.first + stop]
    variables = {}
    for name, found in parts.items():
        dim, unit, meaning = ON_NETWORK[name]
        variables[name] = (("time", dim), np.concatenate(found), {"units": unit, "long_name": meaning})
    labels = {"node": nodes, "branch": flows}
    dims = {ON_NETWORK[name][0] for name in names}
    coordinates = {
        dim: (dim, labels[dim], {"long_name": dim if phases is None else f"{dim} and phase"}) for dim in dims
    }
    if "branch" in dims:
        for name, ends in zip(ENDS, feeder.ends[:, model.branch[branches]], strict=True):
            coordinates[name] = ("branch", [feeder.bus_names[k] for k in ends], {"long_name": name})
    when = ("time", times, {"long_name": "interval start"})
    return xr.Dataset(variables, {"time": when, **coordinates}, {"network_model": model.name})


def _quantity(name: str, model: NetworkModel, state: NetworkState | ACState, branches: IntArray) -> FloatArray:
    """One of ``ON_NETWORK``, (T, nodes) or (T, branches)."""
    if name == "voltage_pu":
        return state.v_pu
    if name == "loading":
        return np.asarray(state.loading_kva[..., branches] / model.rating_kva[branches])
    if name == "p_kw":
        return state.p_flow_kw[..., branches]
    return state.q_flow_kvar[..., branches]


def _named(names: list[str], phases: list[str] | None) -> list[str]:
    """Names of nodes or of flows, with the phase where there are several: ``bus.a``."""
    return names if phases is None else [f"{name}.{phase}" for name, phase in zip(names, phases, strict=True)]
