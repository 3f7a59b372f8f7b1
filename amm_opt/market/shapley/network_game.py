"""The game of a network: how much load is served, or power is hosted, where only some take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, SolveError, shorten
from amm_opt.grid import ROWS_AT_ONCE, Grid
from amm_opt.io.output import native, silent
from amm_opt.network import NetworkModel

Rows = tuple[sp.csr_array, FloatArray, FloatArray]
"""Coefficients of all powers and of further variables, lower and upper ends."""


class NetworkGame:
    """v(S): the most that is served in one interval where of the players only those of S take part.

    Players are groups of participants, in the direction ``direction``; everybody else takes part always. What counts is
    the power of ``counts``, in kW. With plants as players, it is the load that they serve. With LV feeders as players
    who import, and import as what counts, it is what the network hosts of them, and the Shapley value of each is what
    is left to it where all share a limit by what each brings and takes away.

    The linear program is solved by HiGHS, which goes on from set to set: only bounds change. With a network model its
    limits hold, inflexible load first. With ``network="transport"`` flows are chosen freely up to the rating of each
    branch, one flow per branch, without angles (as in the source, with its double capacity of lines corrected; D.
    Sweeney, arXiv 2512.13871, 2025).

    Args:
        case: what the players take part in.
        interval: its number.
        players: by the name of a player, names of its participants.
        direction: in which players take part, ``"export"`` or ``"import"``.
        counts: what is summed, ``"import"`` or ``"export"``.
        source: whether the source trades any amount; without it import must be met by export.
        network: a network model on the case's feeder, or ``"transport"``.

    Raises:
        InputError: an unknown participant, one of two players, an interval that the case does not have, or inflexible
            load where no source meets it.
    """

    def __init__(
        self,
        case: Case,
        interval: int,
        players: Mapping[str, Sequence[str]],
        *,
        network: NetworkModel | str,
        direction: str = "export",
        counts: str = "import",
        source: bool = False,
    ) -> None:
        requests = _checked(case, interval, direction, counts, source, network)
        n, whose = case.n_participants, DIRECTIONS.index(direction) * case.n_participants
        self._columns = {name: whose + where for name, where in _positions(case, players).items()}
        self._most_kw = requests.both_kw.ravel()
        gain = np.repeat([float(d == counts) for d in DIRECTIONS], n)
        network_rows = _transported(case) if isinstance(network, str) else _limited(Grid(case, network), requests)
        self._numbers = (gain, *_with_balance(case, *network_rows, source))
        self._model: Any = None

    @property
    def players(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._columns)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    @native
    def __call__(self, here: frozenset[str]) -> float:
        """The most that is served with the players ``here``, kW."""
        if self._model is None:
            self._model = _model(self._most_kw, *self._numbers)
        for name, columns in self._columns.items():
            most = self._most_kw[columns] if name in here else np.zeros(len(columns))
            self._model.changeColsBounds(len(columns), columns.astype(np.int32), np.zeros(len(columns)), most)
        self._model.run()
        status = self._model.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            said = self._model.modelStatusToString(status)
            raise SolveError(f"most served with {shorten(sorted(here), 5) or 'nobody'}: HiGHS says {said}")
        return float(self._model.getInfo().objective_function_value)


def _checked(
    case: Case, interval: int, direction: str, counts: str, source: bool, network: NetworkModel | str
) -> Requests:
    """What the interval asks for, where the arguments are right."""
    asked = (("direction", direction), ("counts", counts))
    said = [f"{what} = {d!r} is not one of {', '.join(DIRECTIONS)}" for what, d in asked if d not in DIRECTIONS]
    if isinstance(network, str) and network != "transport":
        said.append(f"network = {network!r} is neither a network model nor 'transport'")
    if not 0 <= interval < case.n_steps:
        said.append(f"interval = {interval}: {case.name} has intervals 0 to {case.n_steps - 1}")
        raise InputError(said, subject="network game")
    requests = case.requests(interval, interval + 1).interval(0)
    fixed = [case.participant_names[i] for i in np.flatnonzero(requests.inflexible_kw)]
    fixed += [case.feeder.bus_names[b] for b in np.flatnonzero(case.feeder.injected_kva.real.any(axis=1))]
    if fixed and not source:
        said.append(
            f"without a source there may be no inflexible load or shunt, which nobody might meet: {shorten(fixed, 5)};"
            " give load as requests, or let the source trade (source=True)"
        )
    if said:
        raise InputError(said, subject="network game")
    return requests


def _positions(case: Case, players: Mapping[str, Sequence[str]]) -> dict[str, IntArray]:
    """Positions of each player's participants."""
    place = {name: i for i, name in enumerate(case.participant_names)}
    whose: dict[str, str] = {}
    said = []
    for player, names in players.items():
        for name in names:
            if name not in place:
                said.append(f"player {player!r}: {case.name} has no participant {name!r}")
            elif name in whose:
                said.append(f"participant {name!r} belongs to the players {whose[name]!r} and {player!r}")
            whose.setdefault(name, player)
    if said:
        raise InputError(said, subject="network game")
    return {player: np.array([place[name] for name in names], dtype=np.intp) for player, names in players.items()}


def _limited(grid: Grid, requests: Requests) -> Rows:
    """The limits of a network model that some powers within what is asked for could break."""
    inflexible, _ = grid.usage(requests)
    lower, upper = (limit - inflexible for limit in grid.limits(requests))
    kept, rows = [], []
    for start in range(0, len(lower), ROWS_AT_ONCE):
        which = np.arange(start, min(start + ROWS_AT_ONCE, len(lower)))
        change = np.concatenate(list(grid.sensitivity(which)), axis=1)
        use = change * requests.both_kw.ravel()
        breaks = (np.maximum(use, 0).sum(axis=1) > upper[which]) | (np.minimum(use, 0).sum(axis=1) < lower[which])
        kept.append(which[breaks])
        rows.append(sp.csr_array(change[breaks]))
    within = np.concatenate(kept)
    return sp.csr_array(sp.vstack(rows)), lower[within], upper[within]


def _transported(case: Case) -> Rows:
    """Power is kept at every bus, the source's aside, with one flow per branch within its limits: [x, y, flows]."""
    feeder, n = case.feeder, case.n_participants
    start, stop = feeder.ends[:, 1:]
    branch, count = np.arange(len(start)), len(start)
    leaving = sp.csr_array((np.ones(count), (start, branch)), shape=(feeder.n_buses, count))
    leaving -= sp.csr_array((np.ones(count), (stop, branch)), shape=(feeder.n_buses, count))
    at_bus = case.incidence
    kept = sp.csr_array(sp.hstack([-at_bus, at_bus, -leaving]))[1:]
    free = sp.csr_array((count, 2 * n))
    flows = sp.csr_array(sp.hstack([free, sp.eye_array(count)]))
    least = -np.minimum(feeder.rating_kva, feeder.export_limit_kw)[1:]
    most = np.minimum(feeder.rating_kva, feeder.import_limit_kw)[1:]
    zero = np.zeros(kept.shape[0])
    return sp.csr_array(sp.vstack([kept, flows])), np.append(zero, least), np.append(zero, most)


def _with_balance(case: Case, rows: sp.csr_array, lower: FloatArray, upper: FloatArray, source: bool) -> Rows:
    """And, where the source does not trade, what is imported is what is exported."""
    if source:
        return rows, lower, upper
    n = case.n_participants
    balance = np.concatenate([np.ones(n), -np.ones(n), np.zeros(rows.shape[1] - 2 * n)])
    return sp.csr_array(sp.vstack([rows, balance[None]])), np.append(lower, 0.0), np.append(upper, 0.0)


def _model(most_kw: FloatArray, gain: FloatArray, rows: sp.csr_array, lower: FloatArray, upper: FloatArray) -> Any:
    """Maximise what counts over powers up to ``most_kw`` and free further variables."""
    more = np.zeros(rows.shape[1] - len(most_kw))
    free = np.full(len(more), highspy.kHighsInf)
    with silent():
        model = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "presolve": "off"}.items():
        model.setOptionValue(name, value)
    nothing = np.zeros(0)
    model.passModel(
        *(rows.shape[1], rows.shape[0], rows.nnz, 0),
        *(int(highspy.MatrixFormat.kRowwise), int(highspy.HessianFormat.kTriangular)),
        int(highspy.ObjSense.kMaximize),
        *(0.0, np.append(gain, more), np.append(np.zeros(len(most_kw)), -free), np.append(most_kw, free)),
        *(lower, upper, rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data),
        *(nothing.astype(np.int32), nothing.astype(np.int32), nothing, np.zeros(rows.shape[1], dtype=np.int32)),
    )
    return model
