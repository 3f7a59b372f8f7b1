"""A case on a network model: what is limited, how participants use it, and what keeps every limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.margins import Margin, Shift
from amm_opt.network import ConicNetworkModel, NetworkModel
from amm_opt.program import Corners, Injection, IntervalParameters, Points
from amm_opt.tolerances import ROUNDING, SERVED_SLACK

T = TypeVar("T")
Limits = tuple[FloatArray, FloatArray]
Power = FloatArray | float

BLOCK_NUMBERS = 4_000_000
"""A block has at most this many limited quantities times intervals, which bounds memory."""
KEPT_NUMBERS = 40_000_000
"""At most so many sensitivities are kept."""
ROWS_AT_ONCE = 64
"""So many rows of sensitivities are made at once: each is as long as there are nodes."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What a program is built from: the case, the network model and the parameters of one interval.

    With a ``margin`` limits are those that still hold when load turns out otherwise (docs/margins.md).

    What is known of requests is kept as long as they are. A changed copy of them is another object, of which nothing is
    known, so that nobody has to clear anything.
    """

    case: Case
    network: NetworkModel
    margin: Margin | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what it knows of requests, where it is sent to another process."""
        return Grid, (self.case, self.network, self.margin)

    # What a mechanism's author writes a program in.

    @property
    def n(self) -> int:
        """Number of participants."""
        return self.case.n_participants

    @cached_property
    def parameters(self) -> IntervalParameters:
        """The cvxpy parameters of one interval, set by the engine for each."""
        return IntervalParameters(self.case)

    @property
    def inflexible_kw(self) -> cp.Parameter:
        """(n,) inflexible net load d."""
        return self.parameters.inflexible_kw

    @property
    def import_request_kw(self) -> cp.Parameter:
        """(n,) flexible import requests r."""
        return self.parameters.import_request_kw

    @property
    def export_request_kw(self) -> cp.Parameter:
        """(n,) export requests g."""
        return self.parameters.export_request_kw

    def request_kw(self, direction: str) -> cp.Parameter:
        """(n,) requests in ``"import"`` or ``"export"`` direction."""
        return self.import_request_kw if direction == "import" else self.export_request_kw

    def injection(self, *, import_kw: cp.Expression | None = None, export_kw: cp.Expression | None = None) -> Injection:
        """An injection with flexible import and export (kW per participant; none where not given)."""
        zero = cp.Constant(np.zeros(self.n))
        return Injection(zero if import_kw is None else import_kw, zero if export_kw is None else export_kw)

    # The network model and where participants are on it.

    @property
    def conic(self) -> bool:
        """Whether the network model is a conic relaxation instead of linear rows."""
        return isinstance(self.network, ConicNetworkModel)

    @property
    def boxes(self) -> bool:
        """Whether an injection is a box on the network model, whose every point must be feasible."""
        return self.network.boxes

    @property
    def conic_network(self) -> ConicNetworkModel:
        """The network model of a conic grid."""
        assert isinstance(self.network, ConicNetworkModel)
        return self.network

    @cached_property
    def linear(self) -> Grid:
        """The same case on linear rows, from which sensitivities are read, where this one is conic."""
        return Grid(self.case, self.network.linear) if self.conic else self

    @cached_property
    def incidence(self) -> sp.csr_array:
        """(nodes, n) share of each participant's power at every node of the network model."""
        return self.network.incidence(self.case.bus, self.case.phases)

    @cached_property
    def _node(self) -> IntArray | None:
        """(n,) the node of each participant; None where somebody has several."""
        entries = self.incidence.tocsc()
        one_each = bool(np.all(np.diff(entries.indptr) == 1) and np.all(entries.data == 1.0))
        return entries.indices.astype(np.intp) if one_each else None

    def bus_power(self, injection: Injection) -> tuple[cp.Expression, cp.Expression]:
        """Net active (kW) and reactive (kvar) injection of every node under ``injection``; see :meth:`injected`."""
        return self._places.power(injection, self.parameters)

    @cached_property
    def _places(self) -> Points | Corners:
        return (Corners if self.network.boxes else Points)(self.case, self.incidence)

    def placed_gains(self, imports: sp.csr_array, exports: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
        """What flexible powers add to the injections of nodes, kW and kvar, by their gains (n, variables)."""
        return self._places.gains(imports, exports)

    def injected(self, requests: Requests, import_kw: Power, export_kw: Power) -> tuple[FloatArray, FloatArray]:
        """What the network model takes of (..., n) flexible powers: :meth:`modelled`, or both corners (``Corners``)."""
        if isinstance(self._places, Corners):
            return self._places.injections(requests.inflexible_kw, import_kw, export_kw, requests.inflexible_kvar)
        return self.modelled(requests, import_kw, export_kw)

    def modelled(self, requests: Requests, import_kw: Power, export_kw: Power) -> tuple[FloatArray, FloatArray]:
        """As :meth:`at_nodes`, and what the network model leaves out at inflexible load (``NetworkModel.left_out``)."""
        p, q = self.at_nodes(requests, import_kw, export_kw)
        if not self.network.estimates:
            return p, q
        if requests not in self._left_out:
            self._left_out[requests] = self.network.left_out(*self.at_nodes(requests, 0.0, 0.0))
        more_p, more_q = self._left_out[requests]
        return p + more_p, q + more_q

    def state(self, requests: Requests, import_kw: Power, export_kw: Power) -> Any:
        """Voltages and flows of the network model with (..., n) flexible powers, see ``NetworkModel.state``."""
        return self.network.state(*self.modelled(requests, import_kw, export_kw))

    @cached_property
    def _left_out(self) -> WeakKeyDictionary[Requests, tuple[FloatArray, FloatArray]]:
        return WeakKeyDictionary()

    def at_nodes(self, requests: Requests, import_kw: Power, export_kw: Power) -> tuple[FloatArray, FloatArray]:
        """Net injections (kW, kvar) of nodes with (..., n) flexible powers on top of what requests have inflexible."""
        return self.node_injections(requests.inflexible_kw, import_kw, export_kw, requests.inflexible_kvar)

    def node_injections(
        self, inflexible_kw: FloatArray, import_kw: Power, export_kw: Power, inflexible_kvar: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same for inflexible power of one's own, (..., n); reactive power as for ``Case.injections``."""
        if self._node is None or max(np.ndim(power) for power in (inflexible_kw, import_kw, export_kw)) > 1:
            return self.case.bus_injections(inflexible_kw, import_kw, export_kw, self.incidence, inflexible_kvar)
        p, q = self.case.injections(inflexible_kw, import_kw, export_kw, inflexible_kvar)
        of_p, of_q = (np.asarray(np.bincount(self._node, w, self.network.n_nodes), dtype=float) for w in (p, q))
        return of_p, of_q

    def quantities(
        self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float
    ) -> FloatArray:
        """Every limited quantity with the given flexible powers on top of inflexible load, (..., m)."""
        asked, *powers, known = self._last_swept or (None, None, None, None)
        if asked is requests and isinstance(known, np.ndarray) and _same(powers, (import_kw, export_kw)):
            return known
        u = np.asarray(self.network.evaluate(*self.injected(requests, import_kw, export_kw)))
        if u.ndim == 1 and isinstance(import_kw, np.ndarray) and isinstance(export_kw, np.ndarray):
            u.setflags(write=False)
            self._last_swept[:] = requests, import_kw.copy(), export_kw.copy(), u
        return u

    @cached_property
    def _last_swept(self) -> list[Any]:
        """Requests, powers and quantities of the last interval: what a program was solved for is checked next."""
        return []

    @cached_property
    def limit_groups(self) -> IntArray:
        """(m,) limits of one kind in one LV feeder, or of one kind at one element of the upper tier, form a group."""
        q, feeder = self.network.quantities, self.case.feeder
        home = feeder.lv_feeder[self.network.quantity_bus]
        place = np.where(home >= 0, home, len(feeder.lv_feeders) + q.element)
        return np.asarray(2 * place + (q.kind == "voltage"), dtype=np.intp)

    # What requests use, and what keeps every limit.

    @cached_property
    def _usage(self) -> WeakKeyDictionary[Requests, tuple[FloatArray, FloatArray]]:
        return WeakKeyDictionary()

    @cached_property
    def _intervals(self) -> WeakKeyDictionary[Requests, tuple[Requests, ...]]:
        return WeakKeyDictionary()

    @cached_property
    def _memory(self) -> WeakKeyDictionary[Requests, dict[str, Any]]:
        return WeakKeyDictionary()

    @cached_property
    def _scarce(self) -> WeakKeyDictionary[Requests, BoolArray]:
        return WeakKeyDictionary()

    def usage(self, requests: Requests) -> tuple[FloatArray, FloatArray]:
        """Every limited quantity under inflexible load only, and with every request served, (..., m) each."""
        known = self._usage.get(requests)
        if known is None:
            asked = self.quantities(requests, requests.import_request_kw, requests.export_request_kw)
            known = self._usage[requests] = (self.quantities(requests, 0.0, 0.0), asked)
        return known

    def once(self, requests: Requests, what: str, make: Callable[[], T]) -> T:
        """What is made of requests, known as long as they are.

        Args:
            what: names it; it depends on the grid and the requests alone.
        """
        memory = self._memory.get(requests)
        if memory is None:
            memory = self._memory[requests] = {}
        if what not in memory:
            memory[what] = make()
        return memory[what]  # type: ignore[no-any-return]

    @cached_property
    def _shifts(self) -> WeakKeyDictionary[Requests, Limits]:
        return WeakKeyDictionary()

    @cached_property
    def shift(self) -> Shift | None:
        """What the margin makes of limits; None without a margin."""
        return None if self.margin is None else Shift(self.margin, self.case, self.network)

    def bounds(self, requests: Requests) -> Limits:
        """Lower and upper limit of every limited quantity, its margin taken off, (..., m) or (m,)."""
        q = self.network.quantities
        if self.shift is None:
            return q.lower, q.upper
        known = self._shifts.get(requests)
        if known is None:
            known = self._shifts[requests] = self.shift.of(requests)
        return q.lower + known[0], q.upper - known[1]

    def limits(self, requests: Requests) -> Limits:
        """Lower and upper limit of every limited quantity, (..., m).

        Inflexible load comes first: a limit that it breaks by itself is relaxed to what it uses and no further.
        """
        if requests.inflexible_kw.ndim > 1:
            return self._limits(requests)
        return self.once(requests, "limits", lambda: self._limits(requests))

    def _limits(self, requests: Requests) -> Limits:
        inflexible, _ = self.usage(requests)
        return self.network.relaxed(*self.bounds(requests), inflexible)

    def within(self, quantities: FloatArray, limits: Limits, slack: float = 0.0) -> BoolArray:
        """(...) where all limited quantities (..., m) are within limits.

        Args:
            slack: how far beyond them still is within, in multiples of each quantity's tolerance; see
                ``amm_opt.tolerances``.
        """
        lower, upper = limits
        if slack:
            room = slack * self.network.quantities.tolerance
            lower, upper = lower - room, upper + room
        return np.asarray(np.all((quantities <= upper) & (quantities >= lower), axis=-1))

    def feasible(
        self,
        requests: Requests,
        import_kw: FloatArray | float,
        export_kw: FloatArray | float,
        *,
        limits: Limits | None = None,
        slack: float = SERVED_SLACK,
    ) -> BoolArray:
        """(...) where the network carries the given flexible powers (..., n) on top of inflexible load.

        Args:
            limits: those of the requests where None.
            slack: see :meth:`within`.
        """
        chosen = self.limits(requests) if limits is None else limits
        return self.within(self.quantities(requests, import_kw, export_kw), chosen, slack)

    def feasible_share(self, requests: Requests, import_kw: FloatArray, export_kw: FloatArray) -> float:
        """The largest t at which t times the given flexible powers is feasible; infinite where nothing limits it.

        Exact, because limited quantities are affine: the ray meets the first limit at t. The limits are those of
        :meth:`limits`, so t >= 0. It is 0 where the network has no power flow under these powers.

        Args:
            requests: one interval, arrays of shape (n,).
            import_kw, export_kw: (n,) flexible powers on top of inflexible load.
        """
        lower, upper = self.limits(requests)
        inflexible, _ = self.usage(requests)
        use = self.quantities(requests, import_kw, export_kw) - inflexible
        moving = ~(np.abs(use) <= ROUNDING)
        room = np.where(use > 0, upper - inflexible, inflexible - lower)[moving]
        return float(np.nan_to_num(np.min(np.maximum(room, 0.0) / np.abs(use[moving]), initial=np.inf), posinf=np.inf))

    def scarce(self, requests: Requests) -> BoolArray:
        """(T,) where full service is not proved feasible: it would break a limit by however little."""
        known = self._scarce.get(requests)
        if known is None:
            length = self.block_steps
            if requests in self._usage or requests.n_steps <= length:
                known = ~np.atleast_1d(self.within(self.usage(requests)[1], self.limits(requests)))
            else:
                firsts = range(0, requests.n_steps, length)
                known = np.concatenate([self.scarce(requests.select(slice(k, k + length))) for k in firsts])
            self._scarce[requests] = known
        return known

    @property
    def block_steps(self) -> int:
        """At most so many intervals are swept at once."""
        return max(1, BLOCK_NUMBERS // max(1, len(self.network.quantities.lower)))

    def select(self, requests: Requests, which: Any) -> Requests:
        """``requests.select(which)``; what is known of all is known of these."""
        chosen = requests.select(which)
        self._hand_on(requests, chosen, which)
        if (scarce := self._scarce.get(requests)) is not None:
            self._scarce[chosen] = scarce[which]
        return chosen

    def intervals(self, requests: Requests, which: Iterable[int] | None = None) -> Iterator[Requests]:
        """The intervals one by one (those at the positions ``which``), their usage known from one sweep of all."""
        if which is None:
            known = self._intervals.get(requests)
            if known is None:
                known = self._intervals[requests] = tuple(self._each(requests, requests, range(requests.n_steps)))
            yield from known
        else:
            positions = [int(k) for k in which]
            yield from self._each(requests, self.select(requests, positions), positions)

    def _each(self, requests: Requests, swept: Requests, positions: Sequence[int]) -> Iterator[Requests]:
        self.usage(swept), self.bounds(swept)
        for row, k in enumerate(positions):
            interval = requests.interval(k)
            self._hand_on(swept, interval, row)
            yield interval

    def _hand_on(self, requests: Requests, some: Requests, which: Any) -> None:
        """What is known of requests is known of some of them."""
        for known in (self._usage, self._shifts, self._left_out):
            if (both := known.get(requests)) is not None:
                known[some] = (both[0][which], both[1][which])

    # Sensitivities: how much each participant uses each limit.

    def sensitivity(self, rows: IntArray) -> FloatArray:
        """Change of each limited quantity in ``rows`` per kW of everyone's flexible import and export: (2, K, n)."""
        _, k_import, k_export = self.case.kvar_per_kw
        a_p, a_q, _ = self.network.rows(rows)
        at_p, at_q = self.at_participants(a_p), self.at_participants(a_q)
        return np.stack([-(at_p + at_q * k_import), at_p + at_q * k_export])

    def kept_sensitivity(self, rows: IntArray) -> FloatArray:
        """As :meth:`sensitivity`, and kept as long as there is room: the same limits are met in many intervals."""
        known = self._sensitivity
        if new := [k for k in rows.tolist() if k not in known]:
            if 2 * self.n * (len(known) + len(new)) > KEPT_NUMBERS:
                known.clear()
                new = rows.tolist()
            known.update(zip(new, np.swapaxes(self.sensitivity(np.array(new, dtype=np.intp)), 0, 1), strict=True))
        return np.stack([known[k] for k in rows.tolist()], axis=1) if len(rows) else np.zeros((2, 0, self.n))

    @cached_property
    def _sensitivity(self) -> dict[int, FloatArray]:
        return {}

    def at_participants(self, sensitivity: FloatArray) -> FloatArray:
        """Sensitivities (..., nodes) to injections of nodes as such (..., n) to injections of participants."""
        return sensitivity[..., self._node] if self._node is not None else np.asarray(sensitivity @ self.incidence)


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether powers are the same to the bit."""
    return all(isinstance(b, np.ndarray) and np.array_equal(a, b) for a, b in zip(some, others, strict=True))
