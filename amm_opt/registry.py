"""Finding mechanisms and network models by name: entry points and users' own scripts stand on the same footing."""

from __future__ import annotations

import importlib.util
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar, cast, get_origin, get_type_hints

import numpy as np

from amm_opt.cases import Case
from amm_opt.errors import InputError, Problems, one_line, unknown
from amm_opt.fields import alternatives, maker_of
from amm_opt.io.output import foreign
from amm_opt.market import Mechanism
from amm_opt.network import Feeder, NetworkModel
from amm_opt.network.default import default_model
from amm_opt.plugins import entries, load, loaded
from amm_opt.specs import read_options, read_value

MECHANISMS = "amm_opt.mechanisms"
NETWORK_MODELS = "amm_opt.network_models"


def mechanisms() -> dict[str, type[Mechanism[Any]]]:
    """Every installed mechanism by name; plug-ins that cannot be loaded are reported and left out."""
    return loaded(MECHANISMS, _not_a_mechanism)


def network_models() -> dict[str, type[NetworkModel]]:
    """Every installed network model by name; plug-ins that cannot be loaded are reported and left out."""
    return loaded(NETWORK_MODELS, _not_a_network_model)


def _not_a_mechanism(kind: Any) -> str:
    if not _is_class_of(kind, Mechanism):
        return f"{kind!r} is not a subclass of Mechanism"
    parameters_of(kind)
    return ""


def _not_a_network_model(kind: Any) -> str:
    return "" if _is_class_of(kind, NetworkModel) else f"{kind!r} is not a subclass of NetworkModel"


def _is_class_of(kind: Any, base: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def network_model(name: str) -> type[NetworkModel]:
    """A network model class by name, or from ``script.py:Class``.

    Raises:
        InputError: unknown name, or a plug-in or script that cannot be loaded.
    """
    if is_script(name):
        path, class_name, _ = _script(name)
        kind = _from_script(path, class_name, NetworkModel, "network model")
    else:
        known = entries(NETWORK_MODELS)
        if name not in known:
            raise unknown("network", name, [*known, "script.py:Class"])
        kind = load(known[name], NETWORK_MODELS, _not_a_network_model)
    return cast(type[NetworkModel], kind)


def default_network(case: Case) -> str:
    """The network model that suits a case's phases."""
    return default_model(case.feeder).name


def network_of(case: Case, network: Any) -> NetworkModel:
    """The network model of a case.

    Args:
        network: a name, a class that is called with the feeder, a model that was built on the case's feeder, or None.

    Raises:
        InputError: an unknown name, something that is no network model, or a model of another feeder.
    """
    if network is None or isinstance(network, str):
        network = network_model(network or default_network(case))
    if _is_class_of(network, NetworkModel):
        return _built(network, case.feeder)
    if not isinstance(network, NetworkModel):
        raise InputError(f"network = {network!r} is not a network model: it is no subclass of NetworkModel")
    if not same_feeder(network.feeder, case.feeder):
        raise InputError(f"network {network_name(case, network)!r} was built on another feeder than the case's")
    return network


def _built(kind: type[NetworkModel], feeder: Feeder) -> NetworkModel:
    try:
        return kind(feeder)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"network model {kind.__name__} cannot be built on the feeder: {one_line(error)}") from error


def network_name(case: Case, network: Any) -> str:
    """What a run calls its network model: never the name of an installed one that is another class."""
    if network is None or (isinstance(network, str) and not is_script(network)):
        return network or default_network(case)
    if isinstance(network, str):
        network = network_model(network)
    kind = network if isinstance(network, type) else type(network)
    if not _is_class_of(kind, NetworkModel) or not str(network.name).strip():
        return kind.__qualname__
    name = str(network.name)
    taken = name in entries(NETWORK_MODELS) and network_models().get(name) is not kind
    return f"{kind.__module__}:{kind.__qualname__}" if taken else name


def model_of(case: Case, name: str, given: Any) -> NetworkModel:
    """The network model that a run called by its name.

    Args:
        given: its class or a model, where that is known; None where only an installed one can be meant.

    Raises:
        InputError: where it is not known any more, or another one than the run's is given.
    """
    if given is None and name not in network_models():
        raise InputError(
            f"the run was made with the network model {name!r}, which is not installed: give it as network=..."
        )
    chosen = name if given is None else given
    if (found := network_name(case, chosen)) != name:
        raise InputError(f"the run was made with the network model {name!r}, not {found!r}")
    return network_of(case, chosen)


def same_feeder(one: Any, other: Feeder) -> bool:
    """Whether two feeders are the same in every number and name, whatever tables they were read from."""
    return one is other or (
        isinstance(one, Feeder) and all(_same(*pair) for pair in zip(*_parts(one, other), strict=True))
    )


def _parts(*feeders: Feeder) -> list[list[Any]]:
    return [[getattr(feeder, f.name) for f in fields(Feeder) if f.name != "tables"] for feeder in feeders]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and bool(np.all((a == b) | ((a != a) & (b != b))))
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def mechanism(spec: str) -> Mechanism[Any]:
    """A mechanism from ``name`` or ``name:parameter=value,...``; the name may be ``script.py:Class``.

    Raises:
        InputError: unknown mechanism or parameter, a value of the wrong kind, or a plug-in that cannot be loaded; the
            valid choices are listed.
    """
    head, rest = spec, ""
    if is_script(spec):
        path, class_name, rest = _script(spec)
        kind = _from_script(path, class_name, Mechanism, "mechanism")
    else:
        head, _, rest = spec.partition(":")
        known = entries(MECHANISMS)
        if head not in known:
            raise unknown("mechanism", head, [*known, "script.py:Class"])
        kind = load(known[head], MECHANISMS, _not_a_mechanism)
    return _made(head, kind, _options(kind, rest))


def _made(name: str, kind: type[Mechanism[Any]], options: dict[str, Any]) -> Mechanism[Any]:
    needed = [parameter for parameter, (_, default) in parameters_of(kind).items() if default is MISSING]
    if lacking := [parameter for parameter in needed if parameter not in options]:
        raise InputError(f"{name}: {', '.join(lacking)} must be given, such as {name}:{lacking[0]}=...")
    try:
        return kind(**options)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"mechanism {name} cannot be made: {one_line(error)}") from error


def as_mechanism(item: Any) -> Mechanism[Any]:
    """A mechanism, made from its spec or class where that is given.

    Raises:
        InputError: where it is none of them.
    """
    if isinstance(item, str):
        return mechanism(item)
    if isinstance(item, type) and issubclass(item, Mechanism):
        return _made(item.name or item.__name__, item, {})
    if not isinstance(item, Mechanism):
        raise InputError(f"{item!r} is not a mechanism")
    return item


def is_script(spec: str) -> bool:
    """Whether a spec names a class in a script instead of an installed one."""
    return ".py:" in spec or spec.endswith(".py")


def _script(spec: str) -> tuple[Path, str, str]:
    """Path, class name and what follows of ``script.py:Class:parameters``."""
    path, _, tail = spec.partition(".py")
    class_name, _, rest = tail.removeprefix(":").partition(":")
    return Path(f"{path}.py"), class_name, rest


def _from_script(path: Path, class_name: str, base: Any, what: str) -> Any:
    if not path.is_file():
        raise InputError(f"{path} not found")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    try:
        with foreign():
            module_spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    found = {name: value for name, value in vars(module).items() if _is_class_of(value, base) and value is not base}
    own = {name: kind for name, kind in found.items() if kind.__module__ == module.__name__}
    if not class_name and len(own) == 1:
        return next(iter(own.values()))
    if class_name not in found:
        raise unknown(f"{what} in {path}:", class_name, list(own) or ["none"])
    return found[class_name]


def parameters_of(kind: type[Mechanism[Any]]) -> dict[str, tuple[Any, Any]]:
    """Parameters that a user may set: name -> (type, default)."""
    given = getattr(kind, "__dataclass_fields__", {}).values() if maker_of(kind) else ()
    hints = get_type_hints(kind) if given else {}
    return {
        f.name: (hints[f.name], f.default if f.default_factory is MISSING else f.default_factory())
        for f in given
        if f.init and get_origin(hints[f.name]) is not ClassVar
    }


def _options(kind: type[Mechanism[Any]], text: str) -> dict[str, Any]:
    what = kind.name or kind.__name__
    said = Problems()
    options = read_options(text, {name: hint for name, (hint, _) in parameters_of(kind).items()}, what, said, _read)
    if said:
        said.of(lambda: _made(what, kind, options))
    said.report()
    return options


def _read(wanted: Any, value: str) -> Any:
    """As ``read_value``; in the spec of a mechanism that is a parameter, + stands for the commas between its own."""
    if any(isinstance(kind := get_origin(t) or t, type) and issubclass(kind, Mechanism) for t in alternatives(wanted)):
        return mechanism(value.replace("+", ","))
    return read_value(wanted, value)
