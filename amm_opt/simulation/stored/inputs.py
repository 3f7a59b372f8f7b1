"""What a run depends on: an unfinished one is gone on with where all of it is the same, to the bit."""

from __future__ import annotations

import inspect
import platform
import re
import shlex
import sys
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from textwrap import dedent
from typing import Any

import numpy as np

from amm_opt.grid import Grid
from amm_opt.margins import TRAINING
from amm_opt.registry import network_name
from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.measurement import MEASUREMENT
from amm_opt.simulation.options import Settings
from amm_opt.simulation.stored.difference import DIGEST, WIRES
from amm_opt.simulation.stored.digest import of_bytes
from amm_opt.simulation.stored.record import state_document
from amm_opt.solve.backends.known import label

NUMERICS = (
    "amm-opt", "numpy", "scipy", "cvxpy", "clarabel", "highspy", "piqp", "qoco", "power-grid-model",
    "dss_python_backend",
)  # fmt: skip
"""Packages whose release may change the last bits of a result."""
Document = dict[str, Any]


def inputs_of(settings: Settings, loop: Loop) -> Document:
    """All that the numbers of a run depend on, by the words in which a difference is told.

    Functions of users, such as a forecast, are known by their source; what else they depend on is not.
    """
    case, mechanism, times = settings.case, settings.mechanism, settings.case.times
    start = None if settings.start is None else [state_document(part) for part in settings.start]
    return {
        "case": case.name,
        "scenario": repr(case.scenario),
        f"data of the case{DIGEST}": case.fingerprint,
        "first interval": f"{times[settings.first]}",
        "last interval": f"{times[settings.stop - 1]}",
        "mechanism": str(mechanism),
        "parameters of the mechanism": _nowhere(repr(mechanism)),
        f"code of the mechanism{DIGEST}": code_of(type(mechanism)),
        "network model": network_name(case, settings.network),
        f"limits of the network{DIGEST}": _limits(loop.grid),
        "solvers": [label(choice) for choice in settings.order.choices],
        "time limit": settings.order.time_limit_s,
        "ac": "secure" if settings.secure else "verify" if settings.verified else None,
        **_wires(settings),
        "forecast": "perfect" if settings.forecast is None else _called(settings.forecast),
        f"code of the forecast{DIGEST}": code_of(settings.forecast),
        **({} if settings.measurement is None else {MEASUREMENT: str(settings.measurement)}),
        "waiting": settings.sessions is not None,
        "tiers": settings.tiers,
        "margin": None if settings.margin is None else str(settings.margin),
        **({} if settings.trained is None else {TRAINING: settings.trained.document}),
        "intervals of a block": loop.block_steps,
        f"state at the start{DIGEST}": start and of_bytes(repr(start).encode()),
        "releases": dict(releases()),
        "processor": platform.machine(),
    }


def _wires(settings: Settings) -> Document:
    """What all wires of an OpenDSS file are, where AC is judged on them."""
    if settings.opendss is None:
        return {}
    from amm_opt.verification.four_wire import FourWireNetwork

    wires = settings.shared.wires(settings.believed, settings.opendss)
    assert isinstance(wires, FourWireNetwork)
    return {WIRES: of_bytes("\n".join(wires.statements).encode())}


def circumstances() -> Document:
    """How and when a run was started; nothing depends on it."""
    return {
        "command": shlex.join(sys.argv),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _limits(grid: Grid) -> str:
    """The digest of every limited quantity."""
    q = grid.network.quantities
    parts = [np.asarray(values, dtype=float).tobytes() for values in (q.lower, q.upper, q.element)]
    return of_bytes(b"".join([*parts, q.kind.tobytes()]))


def _called(forecast: Any) -> str:
    return getattr(forecast, "__qualname__", "") or _nowhere(repr(forecast))


def _nowhere(text: str) -> str:
    """A text without where in memory things are."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def code_of(item: Any) -> str:
    """The digest of a class's or function's source; empty where it has none that can be read."""
    return _source(item if inspect.isclass(item) or inspect.isfunction(item) else type(item))  # type: ignore[arg-type]


@cache
def _source(kind: Any) -> str:
    try:
        return of_bytes(dedent(inspect.getsource(kind)).encode())
    except (OSError, TypeError):
        return ""


@cache
def releases() -> tuple[tuple[str, str], ...]:
    """The releases of those ``NUMERICS`` that are installed."""
    found = []
    for name in NUMERICS:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return tuple(found)
