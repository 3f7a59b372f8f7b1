"""A corrupted world, put together from kinds of errors: what the mechanism sees of the case that the network judges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, get_type_hints

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, Problems, unknown
from amm_opt.fields import shortened
from amm_opt.simulation.measurement.base import Fault
from amm_opt.simulation.measurement.interruptions import Memory, Message
from amm_opt.simulation.measurement.networks import Impedance, OtherFeeder, Phase, Switch, Tap, Wrong
from amm_opt.simulation.measurement.readings import Bias, Delay, Drop, Noise, Reading, Source, Stale
from amm_opt.specs import read_options

KINDS: dict[str, type[Fault]] = {
    kind.kind: kind
    for kind in (Noise, Bias, Drop, Delay, Stale, Impedance, Phase, OtherFeeder, Switch, Tap, Memory, Message)
}
MEASUREMENT = "measurement"
"""Among the inputs of a run; only runs with one have it."""
FaultT = TypeVar("FaultT", bound=Fault)


@dataclass(frozen=True)
class Measurement:
    """What is wrong with what a mechanism sees, in the order in which it goes wrong.

    Args:
        faults: such as ``Noise(sigma=0.05)``. Those of readings are put one after the other, as are those of the
            network model.

    Raises:
        InputError: where there is none, something else is among them, or losses of memory overlap.
    """

    faults: tuple[Fault, ...]

    def __post_init__(self) -> None:
        given: Any = self.faults
        faults = tuple(given) if isinstance(given, list | tuple) else (given,)
        wrong = [f"{shortened(fault)} is no kind of error" for fault in faults if not isinstance(fault, Fault)]
        if wrong or not faults:
            raise InputError(wrong or "no kind of error is given", subject="measurement")
        object.__setattr__(self, "faults", faults)
        losses = sorted(self.of(Memory), key=lambda m: m.copied_at)
        if any(later.copied_at < before.restored_at for before, later in pairwise(losses)):
            raise InputError("a copy of the memory is made before the last one is restored", subject="measurement")

    @classmethod
    def read(cls, text: str) -> Measurement:
        """From a text such as ``noise:sigma=0.05,seed=1+drop:rate=0.02``.

        Raises:
            InputError: everything that is wrong with it.
        """
        said = Problems()
        parts = re.split(r"\+(?=\s*[a-z_]+\s*(?::|\+|$))", text)
        faults = [said.of(partial(_fault, part.strip())) for part in parts]
        said.report()
        return cls(tuple(fault for fault in faults if fault is not None))

    def __str__(self) -> str:
        """The text that makes it."""
        return "+".join(map(str, self.faults))

    def of(self, kind: type[FaultT]) -> tuple[FaultT, ...]:
        """Those of one kind, in order."""
        return tuple(fault for fault in self.faults if isinstance(fault, kind))

    def believed(self, case: Case) -> Case:
        """The case as the mechanism believes it to be; the case itself where nothing of the network is wrong.

        Raises:
            InputError: where the case does not have what is to be wrong.
        """
        if said := [f"{fault.kind}: {sentence}" for fault in self.faults if (sentence := fault.beyond(case))]:
            raise InputError(said, subject="measurement")
        for fault in self.faults:
            if isinstance(fault, Wrong):
                case = _believed(fault, case)
        return case

    def requests(self, case: Case, start: int, stop: int) -> Requests:
        """Intervals ``start .. stop - 1`` of the case as they are read, series of reactive power without error."""
        source: Source = partial(_readings, case)
        for fault in self.faults:
            if isinstance(fault, Reading):
                source = partial(fault.seen, source, case.participant_names)
        load, imports, exports = source(start, stop)
        kvar = case.requests(start, stop).inflexible_kvar if case.profiles.has_kvar else None
        return Requests(load, imports, exports, start, case.dt_h, case.times[start:stop], kvar)


def _believed(fault: Wrong, case: Case) -> Case:
    """The case with one kind of error in its network.

    Raises:
        InputError: where it has no such thing, or what would be believed is no network; the error and its values first.
    """
    try:
        return fault.believed(case)
    except InputError as error:
        raise InputError(error.problems, subject=f"measurement {fault}") from error


def _readings(case: Case, start: int, stop: int) -> FloatArray:
    w = case.requests(start, stop)
    return np.stack([w.inflexible_kw, w.import_request_kw, w.export_request_kw])


def _fault(text: str) -> Fault:
    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise unknown("measurement", name, list(KINDS))
    kind, said = KINDS[name], Problems()
    hints = get_type_hints(kind)
    own: Any = kind
    options = read_options(rest, {f.name: hints[f.name] for f in fields(own)}, f"measurement {name}", said)
    said.report()
    return kind(**options)


def as_measurement(item: Measurement | Fault | Sequence[Fault] | str | None) -> Measurement | None:
    """A measurement from its text, or from one or several kinds of errors; None where everything is as it is read.

    Raises:
        InputError: an unknown kind or parameter, with the valid choices; values that are out of range.
    """
    if item is None or isinstance(item, Measurement):
        return item
    if isinstance(item, str):
        return Measurement.read(item)
    if isinstance(item, Fault) or (isinstance(item, Sequence) and item):
        return Measurement(item)  # type: ignore[arg-type]
    raise InputError(f"measurement = {shortened(item)} must be text such as noise:sigma=0.05, or a Measurement")
