"""The game of a network: how much load is served, or power is hosted, where only some take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, SolveError, counted, shorten
from amm_opt.grid import Grid
from amm_opt.io.output import native, silent
from amm_opt.market.shapley.bounds import Bounds
from amm_opt.market.shapley.limit_rows import LimitRows, Rows, Transport, limit_rows
from amm_opt.network import NetworkModel


class NetworkGame:
    """v(S): the most that is served in one interval where of the players only those of S take part.

    Players are groups of participants, in the direction ``direction``; everybody else takes part always. What counts is
    the power of ``counts``, in kW. With plants as players, it is the load that they serve. With LV feeders as players
    who import, and import as what counts, it is what the network hosts of them, and the Shapley value of each is what
    is left to it where all share a limit by what each brings and takes away.

    The linear program is solved by HiGHS, which goes on from set to set: only bounds change. With a network model its
    limits hold, inflexible load first: those of ``dc`` bound a flow on each branch; of other models a limit joins the
    program when an answer first breaks it, and stays. Nothing is solved for a set whose value follows from those of
    others. With ``network="transport"`` flows are chosen freely up to the rating of each branch, one flow per branch,
    without angles (as in the source, with its double capacity of lines corrected; D. Sweeney, arXiv 2512.13871, 2025).

    Args:
        case: what the players take part in.
        interval: its number.
        players: by the name of a player, names of its participants.
        direction: in which players take part, ``"export"`` or ``"import"``.
        counts: what is summed, ``"import"`` or ``"export"``.
        source: whether the source trades any amount; without it import must be met by export.
        available_kw: (n,) what participants could give in ``direction``, in place of what they ask for or offer: such
            as the power of batteries, which offer nothing by themselves.
        network: a network model on the case's feeder, or ``"transport"``.

    Raises:
        InputError: an unknown participant, one of two players, an interval that the case does not have, inflexible
            load where no source meets it, or an availability that is none.
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
        available_kw: ArrayLike | None = None,
    ) -> None:
        _check(case, interval, direction, counts, network)
        self._case, self._source = case, source
        self._place, self._sides = _positions(case, players), (direction, counts)
        requests = _requested(case, interval, source)
        rows = Transport(case) if isinstance(network, str) else limit_rows(Grid(case, network), requests)
        self._begin(requests, available_kw, rows)

    def at(self, interval: int, available_kw: ArrayLike | None = None) -> NetworkGame:
        """The same game in another interval, to which the limits that joined so far are known.

        Args:
            available_kw: of that interval.

        Raises:
            InputError: for an interval that the case does not have, or inflexible load where no source meets it.
        """
        requests = _requested(self._case, interval, self._source)
        other = copy(self)
        other._begin(requests, available_kw, self._rows.at(requests))
        return other

    def _begin(self, requests: Requests, available_kw: ArrayLike | None, rows: LimitRows) -> None:
        first, n = DIRECTIONS.index(self._sides[0]) * self._case.n_participants, self._case.n_participants
        most_kw = requests.both_kw.ravel()
        if available_kw is not None:
            most_kw[first : first + n] = _available(available_kw, n)
        self._some = np.flatnonzero(most_kw > 0)  # who asks for nothing has no column
        column = np.full(2 * n, -1)
        column[self._some] = np.arange(len(self._some))
        own = [column[first + where] for where in self._place.values()]
        self._columns = [columns[columns >= 0].astype(np.int32) for columns in own]
        self._all = np.concatenate(self._columns)
        self._whose = np.repeat(np.arange(len(self._columns)), [len(columns) for columns in self._columns])
        self._most_kw = most_kw[self._some]
        self._gain = np.repeat([float(d == self._sides[1]) for d in DIRECTIONS], n)[self._some]
        self._rows = rows
        self._model: Any = None

    @property
    def by_effort(self) -> tuple[str, ...]:
        """Their names, those first who change the program least and may come and go most often."""
        kw = [float(self._most_kw[columns].sum()) for columns in self._columns]
        return tuple(name for _, name in sorted(zip(kw, self.players, strict=True)))

    @property
    def players(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._place)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    @native
    def __call__(self, here: frozenset[str]) -> float:
        """The most that is served with the players ``here``, kW."""
        if self._model is None:
            rows, lower, upper = _with_balance(self._rows.first(), self._case, self._source)
            self._model = _model(self._most_kw, self._gain, self._own(rows), lower, upper)
            self._inside, self._bounds = np.ones(len(self._columns)), Bounds(len(self._columns))
            self._solved()  # with everybody, which bounds all others
        wanted = np.array([float(name in here) for name in self._place])
        known = self._bounds.value(wanted)
        if known is not None:
            return known
        for player in np.flatnonzero(wanted != self._inside):
            columns = self._columns[player]
            self._model.changeColsBounds(len(columns), columns, 0.0 * columns, wanted[player] * self._most_kw[columns])
        self._inside = wanted
        return self._solved()

    def _solved(self) -> float:
        """What the players inside reach."""
        values, duals = self._answer()
        while (more := self._rows.broken(self._whole(values))) is not None:
            rows, lower, upper = self._own(more[0]), more[1], more[2]
            self._model.addRows(
                *(rows.shape[0], lower, upper, rows.nnz),
                *(rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data),
            )
            values, duals = self._answer()
        value = float(self._gain @ values[: len(self._gain)])
        adds = np.zeros(len(self._columns))
        np.add.at(adds, self._whose, np.maximum(duals[self._all], 0.0) * self._most_kw[self._all])
        self._bounds.learn(self._inside, value, adds)
        return value

    def _own(self, rows: sp.csr_array) -> sp.csr_array:
        """Rows over the columns that there are."""
        further = np.arange(2 * self._case.n_participants, rows.shape[1])
        return sp.csr_array(sp.csc_array(rows)[:, np.append(self._some, further)])

    def _whole(self, values: FloatArray) -> FloatArray:
        """Values of columns as powers of all, imports and then exports, and further variables."""
        powers = np.zeros(2 * self._case.n_participants)
        powers[self._some] = values[: len(self._some)]
        return np.append(powers, values[len(self._some) :])

    def _answer(self) -> tuple[FloatArray, FloatArray]:
        """Values and reduced costs of all variables."""
        self._model.run()
        status = self._model.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            here = [name for name, inside in zip(self._place, self._inside, strict=True) if inside]
            said = self._model.modelStatusToString(status)
            raise SolveError(f"most served with {shorten(sorted(here), 5) or 'nobody'}: HiGHS says {said}")
        solution = self._model.getSolution()
        return np.array(solution.col_value), np.array(solution.col_dual)


def _check(case: Case, interval: int, direction: str, counts: str, network: NetworkModel | str) -> None:
    asked = (("direction", direction), ("counts", counts))
    said = [f"{what} = {d!r} is not one of {', '.join(DIRECTIONS)}" for what, d in asked if d not in DIRECTIONS]
    if isinstance(network, str) and network != "transport":
        said.append(f"network = {network!r} is neither a network model nor 'transport'")
    said += _unknown_interval(case, interval)
    if said:
        raise InputError(said, subject="network game")


def _available(available_kw: ArrayLike, n: int) -> FloatArray:
    available = np.asarray(available_kw, dtype=float)
    if available.shape != (n,):
        said = (
            f"available_kw has the shape {available.shape}; one number for each of {counted(n, 'participant')}"
            " is needed"
        )
        raise InputError(said, subject="network game")
    if not np.all(np.isfinite(available) & (available >= 0)):
        raise InputError("available_kw must be finite and not negative", subject="network game")
    return available


def _unknown_interval(case: Case, interval: int) -> list[str]:
    if 0 <= interval < case.n_steps:
        return []
    return [f"interval = {interval}: {case.name} has intervals 0 to {case.n_steps - 1}"]


def _requested(case: Case, interval: int, source: bool) -> Requests:
    """What the interval asks for, where somebody can meet it."""
    if unknown := _unknown_interval(case, interval):
        raise InputError(unknown, subject="network game")
    requests = case.requests(interval, interval + 1).interval(0)
    fixed = [case.participant_names[i] for i in np.flatnonzero(requests.inflexible_kw)]
    fixed += [case.feeder.bus_names[b] for b in np.flatnonzero(case.feeder.injected_kva.real.any(axis=1))]
    if fixed and not source:
        said = (
            f"without a source there may be no inflexible load or shunt, which nobody might meet: {shorten(fixed, 5)};"
            " give load as requests, or let the source trade (source=True)"
        )
        raise InputError(said, subject="network game")
    return requests


def _positions(case: Case, players: Mapping[str, Sequence[str]]) -> dict[str, IntArray]:
    """Positions of each player's participants."""
    place = {name: i for i, name in enumerate(case.participant_names)}
    whose: dict[str, str] = {}
    said = [] if players else ["players: nobody is given"]
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


def _with_balance(rows: Rows, case: Case, source: bool) -> Rows:
    """And, where the source does not trade, what is imported is what is exported."""
    if source:
        return rows
    (coefficients, lower, upper), n = rows, case.n_participants
    balance = np.concatenate([np.ones(n), -np.ones(n), np.zeros(coefficients.shape[1] - 2 * n)])
    return sp.csr_array(sp.vstack([balance[None], coefficients])), np.append(0.0, lower), np.append(0.0, upper)


def _model(most_kw: FloatArray, gain: FloatArray, rows: sp.csr_array, lower: FloatArray, upper: FloatArray) -> Any:
    """Maximise what counts over powers up to ``most_kw`` and further variables: those with a row of their own in it."""
    more = np.zeros(rows.shape[1] - len(most_kw))
    alone = np.diff(rows.indptr) == 1
    at = rows.indptr[:-1][alone]
    alone[alone] = rows.indices[at] >= len(most_kw)
    at = rows.indptr[:-1][alone]
    both = np.sort(np.array([lower[alone], upper[alone]]) / rows.data[at], axis=0)
    ends = np.full((2, len(more)), np.inf) * np.array([[-1.0], [1.0]])
    np.maximum.at(ends[0], rows.indices[at] - len(most_kw), both[0])
    np.minimum.at(ends[1], rows.indices[at] - len(most_kw), both[1])
    rows, lower, upper = sp.csr_array(rows[~alone]), lower[~alone], upper[~alone]
    with silent():
        model = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "presolve": "off"}.items():
        model.setOptionValue(name, value)
    nothing = np.zeros(0)
    model.passModel(
        *(rows.shape[1], rows.shape[0], rows.nnz, 0),
        *(int(highspy.MatrixFormat.kRowwise), int(highspy.HessianFormat.kTriangular)),
        int(highspy.ObjSense.kMaximize),
        *(0.0, np.append(gain, more), np.append(np.zeros(len(most_kw)), ends[0]), np.append(most_kw, ends[1])),
        *(lower, upper, rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data),
        *(nothing.astype(np.int32), nothing.astype(np.int32), nothing, np.zeros(rows.shape[1], dtype=np.int32)),
    )
    return model
