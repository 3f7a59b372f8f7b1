"""One variant of a study, what a process needs to run it, and the row that it comes to."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from amm_opt.cases import Case, load_case
from amm_opt.errors import AmmOptError, InputError, OutputError, one_line
from amm_opt.fields import is_whole, shortened
from amm_opt.market import Mechanism
from amm_opt.simulation.driver import execute
from amm_opt.simulation.options import Options, settled
from amm_opt.simulation.shared import MOST_GRIDS, ROOM, Shared
from amm_opt.studies.parameters import OF_CASE, Value, Values, changed, edited, spec_of

OPTIONS = ("network", "solver", "forecast", "measurement", "tiers", "ac", "defer", "margin")
"""Arguments of ``simulate`` that a study may give several of."""
RUNS = "runs"


@dataclass(frozen=True)
class Variant:
    """One run of a study: its number and all its parameters, with ``case`` and ``mechanism`` by their labels."""

    number: int
    parameters: Values

    @property
    def case_key(self) -> tuple[tuple[str, Value], ...]:
        """What its case depends on, and its network: variants with the same are run one after the other."""
        return tuple(
            (n, v) for n, v in self.parameters.items() if n in ("case", "network") or n.split(".")[0] in OF_CASE
        )


@dataclass(frozen=True)
class Row:
    """What a variant came to.

    Attributes:
        summary: of its run; empty where there is none.
        reason: why there is no run; empty where there is one.
        warnings: what was warned of meanwhile.
        cpu_s: CPU seconds that it took, of the attempt that succeeded.
        attempts: how often it was begun: a second time where its process was lost.
    """

    number: int
    parameters: Values
    summary: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    warnings: tuple[str, ...] = ()
    cpu_s: float = float("nan")
    attempts: int = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """What every process of a study gets.

    Attributes:
        cases: by label, cases that are nowhere stored; of others what ``load_case`` takes.
        mechanisms: by label.
        choices: of the ``OPTIONS`` that there are several of, the arguments by label.
        options: the others.
        start: the first interval, after which as many follow as the options say; None where these say all.
        runs: where whole runs are kept; None where they are not.
    """

    cases: Mapping[str, Case | str]
    mechanisms: Mapping[str, Mechanism[Any]]
    choices: Mapping[str, Mapping[str, Any]]
    options: Options
    start: str | None = None
    runs: Path | None = None


class Workplace:
    """Runs variants, one at a time, in this process; what those of one case have in common is kept in between."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._shared = Shared(ROOM)
        self._loaded: dict[str, Case] = {}
        self._edited: dict[Any, Case] = {}
        self._busy = threading.Lock()

    def base(self, label: str, values: Values) -> Case:
        """The baseline of a variant.

        Raises:
            InputError: where it cannot be loaded.
        """
        given = self.plan.cases[label]
        if isinstance(given, Case):
            return given
        spec = spec_of(given, values)
        return _kept(self._loaded, spec, lambda: load_case(spec))

    def case(self, variant: Variant) -> Case:
        """The case of a variant.

        Raises:
            InputError: where it cannot be loaded or edited.
        """
        values = variant.parameters
        key = tuple(item for item in variant.case_key if item[0] != "network")
        return _kept(self._edited, key, lambda: edited(self.base(str(values["case"]), values), values))

    def settings(self, variant: Variant) -> Any:
        """The checked call of ``simulate`` that a variant stands for.

        Raises:
            InputError: everything that is wrong with it.
        """
        values = variant.parameters
        chosen = {name: by[str(values[name])] for name, by in self.plan.choices.items()}
        mechanism = changed(self.plan.mechanisms[str(values["mechanism"])], values)
        case = self.case(variant)
        options = replace(self.plan.options, steps=steps_of(case, self.plan), **chosen)
        return settled(case, mechanism, options, self._shared)

    def row(self, variant: Variant) -> Row:
        """Run a variant; what cannot be run is a row with the reason.

        Raises:
            OutputError: where whole runs are kept, and the folder takes nothing any more.
        """
        with self._busy, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            began = time.process_time()
            place = None if self.plan.runs is None else self.plan.runs / name_of(variant.number)
            summary: dict[str, float] = {}
            reason = ""
            try:
                run = execute(self.settings(variant), place, "new" if place is None else "resume")
                summary = {str(name): float(value) for name, value in run.summary.items()}
            except OutputError:
                raise
            except AmmOptError as error:
                reason = str(error)
            except Exception as error:
                reason = one_line(error, 2000)
            texts = tuple(dict.fromkeys(str(item.message) for item in said))
            seconds = time.process_time() - began
        return Row(variant.number, variant.parameters, summary, reason, texts, seconds)


def steps_of(case: Case, plan: Plan) -> Any:
    """The intervals of a plan on a case, as ``simulate`` takes them.

    Raises:
        InputError: where they go beyond its end.
    """
    if plan.start is None:
        return plan.options.steps
    (first, stop), count = case.span(slice(plan.start, None)), plan.options.steps
    if count is None:
        return slice(first, stop)
    if not (is_whole(count) and count > 0):  # type: ignore[operator]
        raise InputError(f"steps = {shortened(count)} must be a number of intervals where there is a start")
    if first + count > stop:  # type: ignore[operator]
        raise InputError(f"steps = {count} from {case.times[first]} goes beyond the last interval {case.times[-1]}")
    return slice(first, first + count)  # type: ignore[operator]


def name_of(number: int) -> str:
    """The name of a variant's file or folder."""
    return f"{number:06d}"


def _kept(known: dict[Any, Case], key: Any, make: Any) -> Case:
    """What was made last stays, as far as grids are kept as well."""
    case = known.pop(key, None)
    case = make() if case is None else case
    known[key] = case
    if len(known) > MOST_GRIDS:
        known.pop(next(iter(known)))
    return case
