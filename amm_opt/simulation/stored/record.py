"""What a block came to, as a text: every number comes back to the bit."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.market import Mechanism, State
from amm_opt.market.mechanism import NoState
from amm_opt.network.excess import Unavoidable
from amm_opt.program import Audit
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.results.totals import Totals
from amm_opt.verification.violations import COUNTS, Violations, Worst

Document = dict[str, Any]
WORST = ("worst_thermal", "worst_voltage")


@dataclass(frozen=True)
class Recorded(Mechanism[NoState]):
    """The mechanism of a run that was read from disk: its label, its label without memory, whether it was the bound."""

    label: str = ""
    was_bound: bool = False
    memoryless: str | None = None

    @property
    def throughput_bound(self) -> bool:
        """Whether the mechanism that was run is the throughput bound."""
        return self.was_bound

    def without_memory(self) -> Recorded | None:
        """Known by its label too."""
        return None if self.memoryless is None else Recorded(self.memoryless)

    def __str__(self) -> str:
        return self.label


class StoredState(State):
    """The state of a mechanism that is known by its arrays only, as of a run that was read from disk."""

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        object.__setattr__(self, "_arrays", dict(arrays))

    def arrays(self) -> dict[str, FloatArray]:
        """Names and arrays: all there is to store."""
        return dict(self._arrays)

    def __getattr__(self, name: str) -> FloatArray:
        try:
            return self.__dict__["_arrays"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None


def packed(array: Any) -> Document:
    """An array of numbers as a text."""
    values = np.asarray(array)
    kind = "<i8" if values.dtype.kind in "iub" else "<f8"
    content = base64.b64encode(values.astype(kind).tobytes()).decode("ascii")
    return {"type": kind, "shape": list(values.shape), "base64": content}


def unpacked(document: Document) -> Any:
    """The inverse of :func:`packed`."""
    if document["type"] not in ("<i8", "<f8"):
        raise ValueError(f"arrays of type {document['type']!r} are not known")
    values = np.frombuffer(base64.b64decode(document["base64"], validate=True), dtype=document["type"])
    return values.reshape(document["shape"]).astype(document["type"][1:])


def state_document(state: State | None) -> Document | None:
    """A state, or what waits, by the names of its arrays."""
    return None if state is None else {name: packed(array) for name, array in state.arrays().items()}


def encoded(result: BlockResult) -> Document:
    """What a block came to; the inverse of :func:`decoded`."""
    totals, violations = result.totals, result.totals.violations
    elements = violations.elements
    return {
        "state": state_document(result.state),
        "backlog": state_document(result.backlog),
        "departed": state_document(Backlog.joined(result.departed)) if result.departed else None,
        "requested_kwh": packed(totals.requested_kwh),
        "served_kwh": packed(totals.served_kwh),
        "revenue": totals.revenue if totals.priced else None,
        "battery_kwh": None if totals.battery_kwh is None else packed(totals.battery_kwh),
        "steps": totals.steps,
        "violations": {name: getattr(violations, name) for name in COUNTS},
        "worst": {name: asdict(getattr(violations, name)) for name in WORST},
        "unavoidable": elements and {f.name: packed(getattr(elements, f.name)) for f in fields(elements)},
        "failed_steps": {str(k): why for k, why in result.failed.items()},
        "fallback_steps": {str(k): why for k, why in result.fallback.items()},
        "repaired_steps": [int(k) for k in result.repaired],
        "inexact_steps": [int(k) for k in result.inexact],
        "gap": None if result.gap is None else packed(result.gap),
        "solved_by": result.used,
        "audit": None if result.audit is None else asdict(result.audit),
        "attempted": result.attempted,
        **({} if result.held is None else {"held": state_document(result.held)}),
    }


def decoded(document: Document, label: str, state_of: Callable[[dict[str, FloatArray]], State]) -> BlockResult:
    """What :func:`encoded` was given.

    Args:
        label: of the mechanism.
        state_of: makes its state from arrays.
    """

    def some(name: str) -> Any:
        return None if document[name] is None else unpacked(document[name])

    def arrays(name: str) -> dict[str, Any]:
        return {key: unpacked(value) for key, value in document[name].items()}

    violations = Violations(**document["violations"])
    violations.worst_thermal, violations.worst_voltage = (Worst(**document["worst"][name]) for name in WORST)
    if document["unavoidable"] is not None:
        violations.elements = Unavoidable(**arrays("unavoidable"))
    revenue = document["revenue"]
    return BlockResult(
        label,
        state_of(arrays("state")),
        Totals(
            some("requested_kwh"),
            some("served_kwh"),
            violations=violations,
            revenue=0.0 if revenue is None else revenue,
            priced=revenue is not None,
            battery_kwh=some("battery_kwh"),
            steps=document["steps"],
        ),
        backlog=None if document["backlog"] is None else Backlog(**arrays("backlog")),
        departed=[] if document["departed"] is None else [Backlog(**arrays("departed"))],
        failed={int(k): why for k, why in document["failed_steps"].items()},
        fallback={int(k): why for k, why in document["fallback_steps"].items()},
        repaired=document["repaired_steps"],
        inexact=document["inexact_steps"],
        gap=some("gap"),
        used=document["solved_by"],
        audit=None if document["audit"] is None else Audit(**document["audit"]),
        attempted=document["attempted"],
        held=state_of(arrays("held")) if "held" in document else None,
    )
