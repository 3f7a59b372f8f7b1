"""Parameters of a study by dotted names: what each of them changes, always from the baseline.

case.seed              an option of the case's name: mv33lv with seed = 2 is mv33lv:seed=2
uptake.ev              ``Case.with_uptake``: ev, pv, battery, heat_pump, seed, latitude_deg
ratings.transformer    ``Case.with_ratings``: a factor on all, a kind (line, transformer, switch) or a tier
scenario.import_scale  ``Case.with_scenario``: a factor in place of the baseline's
mechanism.rho          a parameter of the mechanism
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from amm_opt.cases import Case, Scenario
from amm_opt.cases.edits.uptake import check_uptake
from amm_opt.cases.scenario import MAX_SCALE, SCALES
from amm_opt.cases.synthetic.generators import LATITUDE_DEG
from amm_opt.errors import InputError, Problems, one_line, unknown
from amm_opt.fields import alternatives, is_number, is_whole, shortened
from amm_opt.market import Mechanism
from amm_opt.network.feeder.tables import BRANCH_KINDS, TIERS
from amm_opt.registry import as_mechanism, parameters_of

Value = str | int | float | bool | None
Values = Mapping[str, Value]
"""The parameters of one variant."""

SHARES = ("ev", "pv", "battery", "heat_pump")
SEED, LATITUDE = "seed", "latitude_deg"
ALL = "all"
CHOICES: Mapping[str, Sequence[str]] = {
    "uptake": (*SHARES, SEED, LATITUDE),
    "ratings": (ALL, *BRANCH_KINDS, *TIERS),
    "scenario": tuple(SCALES),
}
"""What may stand after the dot; for ``case`` and ``mechanism`` it depends on which."""
GROUPS = ("case", *CHOICES, "mechanism")
OF_CASE = ("case", *CHOICES)


def of_group(values: Values, group: str) -> dict[str, Any]:
    """The parameters of one group, by what stands after the dot."""
    return {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{group}.")}


def check_name(name: object, mechanisms: Iterable[Mechanism[Any]]) -> None:
    """See that a parameter exists, for each of the mechanisms where it is one of theirs.

    Raises:
        InputError: with the valid choices.
    """
    if not isinstance(name, str):
        raise InputError(f"{shortened(name)} is not the name of a parameter")
    group, dot, rest = name.partition(".")
    if group not in GROUPS or not dot:
        raise unknown("parameter", name, [f"{group}...." for group in GROUPS])
    if group in CHOICES and rest not in CHOICES[group]:
        raise unknown("parameter", name, [f"{group}.{choice}" for choice in CHOICES[group]])
    if group == "case" and not rest.isidentifier():
        raise InputError(f"parameter {name!r}: what stands after case. is an option of its name, such as case.seed")
    said = Problems()
    for item in mechanisms if group == "mechanism" else ():
        known = parameters_of(type(item))
        if rest not in known:
            what = item.name or type(item).__name__
            said.of(lambda what=what, known=known: _refuse(name, what, known))  # type: ignore[misc]
    said.report()


def _refuse(name: str, what: str, known: Mapping[str, Any]) -> None:
    raise unknown(f"parameter of {what}", name, [f"mechanism.{choice}" for choice in known] or ["none"])


def is_whole_parameter(name: str, mechanisms: Iterable[Mechanism[Any]]) -> bool:
    """Whether a parameter takes whole numbers only."""
    group, _, rest = name.partition(".")
    if group != "mechanism":
        return rest == SEED
    hints = [parameters_of(type(item))[rest][0] for item in mechanisms if rest in parameters_of(type(item))]
    return bool(hints) and all(int in (kinds := alternatives(hint)) and float not in kinds for hint in hints)


def check_case_values(values: Values) -> None:
    """See that what changes the case is within its range.

    Raises:
        InputError: one sentence per value that is not.
    """
    said = Problems()
    if uptake := of_group(values, "uptake"):
        said.of(lambda: check_uptake(*_uptake(uptake)))
    for name, factor in of_group(values, "ratings").items():
        if not (is_number(factor) and 0 < factor <= MAX_SCALE):
            text = f"ratings.{name} = {shortened(factor)} must be a positive number of at most {MAX_SCALE:g}"
            said.say(text)
    if scenario := of_group(values, "scenario"):
        said.of(lambda: _scenario(scenario))
    for name, value in of_group(values, "case").items():
        if not (isinstance(value, str) or is_number(value)):
            said.say(f"case.{name} = {shortened(value)} must be a number or text")
    said.report()


def check_value(name: str, value: Value) -> None:
    """The same for one parameter by itself.

    Raises:
        InputError: where its value is out of range.
    """
    if name not in (f"uptake.{SEED}", f"uptake.{LATITUDE}"):
        check_case_values({name: value})


def _scenario(values: Mapping[str, Any]) -> None:
    Scenario(**values)


def _uptake(uptake: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    shares = {name: uptake.get(name) for name in SHARES}
    return shares, uptake.get(SEED, 0), uptake.get(LATITUDE, LATITUDE_DEG)


def spec_of(case: str, values: Values) -> str:
    """The name of a case with the options that are parameters.

    Raises:
        InputError: where an option stands in the name already.
    """
    options = of_group(values, "case")
    if not options:
        return case
    given = case.rpartition(":")[2] if "=" in case.rpartition(":")[2] else ""
    there = {option.partition("=")[0].strip() for option in given.split(",") if option}
    if both := sorted(there & options.keys()):
        raise InputError(f"case.{both[0]} is a parameter, and the case {case!r} has it in its name")
    text = ",".join(f"{name}={_plain(value)}" for name, value in options.items())
    return f"{case},{text}" if given else f"{case}:{text}"


def _plain(value: Value) -> str:
    return str(int(value)) if isinstance(value, float) and is_whole(int(value)) and value == int(value) else str(value)


def edited(case: Case, values: Values) -> Case:
    """A case with uptake, ratings and scenario of a variant.

    Raises:
        InputError: where an edit refuses it.
    """
    if uptake := of_group(values, "uptake"):
        case = case.with_uptake(**uptake)
    for name, factor in of_group(values, "ratings").items():
        part = {} if name == ALL else {"kind": name} if name in BRANCH_KINDS else {"tier": name}
        case = case.with_ratings(factor=factor, **part)
    scenario = of_group(values, "scenario")
    return case.with_scenario(**scenario) if scenario else case


def changed(mechanism: Mechanism[Any], values: Values) -> Mechanism[Any]:
    """A mechanism with the parameters of a variant.

    Raises:
        InputError: an unknown parameter, or a value that it refuses.
    """
    given = of_group(values, "mechanism")
    if not given:
        return mechanism
    known = parameters_of(type(mechanism))
    for name, value in given.items():
        if name in known and isinstance(value, str) and _takes_mechanism(known[name][0]):
            given[name] = as_mechanism(value)
    try:
        return replace(mechanism, **given)  # type: ignore[type-var]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{mechanism} cannot be changed: {one_line(error)}") from error


def _takes_mechanism(wanted: Any) -> bool:
    kinds = [getattr(kind, "__origin__", kind) for kind in alternatives(wanted)]
    return any(isinstance(kind, type) and issubclass(kind, Mechanism) for kind in kinds)
