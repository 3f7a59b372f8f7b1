"""Where a run starts: nothing has been before, or a state that another run has left."""

from __future__ import annotations

from typing import Any

from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.market import Mechanism, State
from amm_opt.simulation.loop.waiting import Backlog, Sessions
from amm_opt.simulation.results.run import Run

Start = tuple[State, Backlog | None]


def start_of(given: Any, mechanism: Mechanism[Any], case: Case, first: int, sessions: Sessions | None) -> Start | None:
    """State and backlog before interval ``first``.

    Args:
        given: a state of the mechanism, or a run on the case that ends where this one starts, of which what waits is
            taken over as well; None where nothing has been before.

    Raises:
        InputError: where it is none of them, or not one of this mechanism.
    """
    if given is None:
        return None
    state, backlog = given, None if sessions is None else sessions.at_start(first)
    if isinstance(given, Run):
        state = given.state
        if (stop := given.first + len(given.times)) != first:
            ends = case.times[stop] if stop < case.n_steps else "the end of the case"
            raise InputError(f"state: the run ends before {ends}, and this one starts at {case.times[first]}")
        if given.case.fingerprint != case.fingerprint:
            raise InputError(f"state: the run is one on another case than {case.name!r}")
        if given.waits != (sessions is not None):
            raise InputError("state: either both runs have energy that waits (defer), or none")
        backlog = given.backlog
    if not isinstance(state, State):
        raise InputError(f"state = {given!r} is neither a State nor a Run")
    fresh, arrays = mechanism.initial_state(case), state.arrays()
    own = {name: array.shape for name, array in fresh.arrays().items()}
    if own != {name: array.shape for name, array in arrays.items()}:
        here = ", ".join(f"{name} {shape}" for name, shape in own.items()) or "nothing"
        raise InputError(f"state: {mechanism} remembers {here}, and that is not what the given state holds")
    return type(fresh).from_arrays(arrays), backlog
