"""Finding mechanisms and network models by name: entry points and users' own scripts stand on the same footing."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import MISSING
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from amm_opt.cases import Case
from amm_opt.errors import InputError, unknown
from amm_opt.market import Mechanism

MECHANISMS = "amm_opt.mechanisms"
NETWORK_MODELS = "amm_opt.network_models"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def mechanisms() -> dict[str, type[Mechanism[Any]]]:
    """Every installed mechanism by name."""
    return {name: entry.load() for name, entry in sorted(_entries(MECHANISMS).items())}


def network_models() -> dict[str, Any]:
    """Every installed network model by name."""
    return {name: entry.load() for name, entry in sorted(_entries(NETWORK_MODELS).items())}


def network_model(name: str) -> Any:
    """A network model class by name.

    Raises:
        InputError: unknown name.
    """
    known = _entries(NETWORK_MODELS)
    if name not in known:
        raise unknown("network", name, list(known))
    return known[name].load()


def default_network(case: Case) -> str:
    """The network model that suits a case's phases."""
    return "lindistflow" if case.feeder.balanced else "lindist3flow"


def mechanism(spec: str) -> Mechanism[Any]:
    """A mechanism from ``name`` or ``name:parameter=value,...``; the name may be ``script.py:Class``.

    Raises:
        InputError: unknown mechanism or parameter, or a value of the wrong kind; the valid choices are listed.
    """
    head, rest = spec, ""
    if ".py:" in spec or spec.endswith(".py"):
        path, _, tail = spec.partition(".py")
        class_name, _, rest = tail.removeprefix(":").partition(":")
        kind = _from_script(Path(f"{path}.py"), class_name)
    else:
        head, _, rest = spec.partition(":")
        known = _entries(MECHANISMS)
        if head not in known:
            raise unknown("mechanism", head, [*known, "script.py:Class"])
        kind = known[head].load()
    options = _options(kind, rest)
    needed = [name for name, (_, default) in parameters_of(kind).items() if default is MISSING]
    if lacking := [name for name in needed if name not in options]:
        raise InputError(f"{head}: {', '.join(lacking)} must be given, such as {head}:{lacking[0]}=...")
    return kind(**options)


def as_mechanism(item: Any) -> Mechanism[Any]:
    """A mechanism, made from its spec where that is given.

    Raises:
        InputError: where it is neither.
    """
    if isinstance(item, str):
        return mechanism(item)
    if not isinstance(item, Mechanism):
        hint = f"; give an instance: {item.__name__}()" if isinstance(item, type) else ""
        raise InputError(f"{item!r} is not a mechanism{hint}")
    return item


def _from_script(path: Path, class_name: str) -> type[Mechanism[Any]]:
    if not path.is_file():
        raise InputError(f"{path} not found")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    found = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Mechanism) and value is not Mechanism
    }
    own = {name: kind for name, kind in found.items() if kind.__module__ == module.__name__}
    if not class_name and len(own) == 1:
        return next(iter(own.values()))
    if class_name not in found:
        raise unknown(f"mechanism in {path}:", class_name, list(own) or ["none"])
    return found[class_name]


def parameters_of(kind: type[Mechanism[Any]]) -> dict[str, tuple[Any, Any]]:
    """Parameters that a user may set: name -> (type, default)."""
    given = getattr(kind, "__dataclass_fields__", {}).values()
    hints = get_type_hints(kind) if given else {}
    return {
        f.name: (hints[f.name], f.default if f.default_factory is MISSING else f.default_factory())
        for f in given
        if f.init and get_origin(hints[f.name]) is not ClassVar
    }


def _options(kind: type[Mechanism[Any]], text: str) -> dict[str, Any]:
    known = parameters_of(kind)
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in known:
            raise unknown(f"parameter of {kind.name or kind.__name__}", name, list(known) or ["none"])
        options[name] = _converted(kind, name, known[name][0], value if equals else "")
    return options


def _is_mechanism(wanted: Any) -> bool:
    """Whether a parameter takes a mechanism: its spec is written with + for the commas between its parameters."""
    return any(isinstance(kind := get_origin(t) or t, type) and issubclass(kind, Mechanism) for t in get_args(wanted))


def _converted(kind: type[Mechanism[Any]], name: str, wanted: Any, value: str) -> Any:
    if _is_mechanism(wanted):
        return mechanism(value.replace("+", ","))
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    for t in kinds:
        if t is NoneType and value.lower() == "none":
            return None
        try:
            if t in (int, float, str, bool):
                return _BOOLEANS[value.lower()] if t is bool else t(value)
        except (ValueError, KeyError):
            continue
    if get_origin(wanted) is Literal:
        return next((choice for choice in get_args(wanted) if str(choice) == value), value)
    if not any(t in (int, float, bool) for t in kinds):
        return value
    raise InputError(
        f"{kind.name}: {name} = {value!r} is not a valid {' or '.join(getattr(t, '__name__', str(t)) for t in kinds)}"
    )
