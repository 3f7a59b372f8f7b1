"""What of a granted power is of use to somebody."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case


def useful_kwh(case: Case, span: tuple[int, int], granted_kw: FloatArray) -> FloatArray:
    """(2, n) energy of use in intervals ``span`` of what is granted, (2, T, n) kW.

    Export and imports of profiles: at most what is asked for at the time. Of a session its power, while it is there and
    until its energy is full; what a profile of the same participant asks for comes first.
    """
    start, stop = span
    plain = case.without_sessions.requests(start, stop)
    kwh = np.zeros((2, case.n_participants))
    by_profile = np.minimum(granted_kw[0], plain.import_request_kw)
    kwh[0] = by_profile.sum(axis=0) * case.dt_h
    kwh[1] = np.minimum(granted_kw[1], plain.export_request_kw).sum(axis=0) * case.dt_h
    scale = case.scenario.import_scale
    left, sessions = granted_kw[0] - by_profile, case.profiles.sessions
    here = sessions[(sessions["last"] >= start) & (sessions["first"] < stop)].sort_values("first", kind="stable")
    for who, first, last, late, early, power_kw, energy_kwh in zip(
        *(
            here[name].to_numpy()
            for name in ("participant", "first", "last", "late", "early", "power_kw", "energy_kwh")
        ),
        strict=True,
    ):
        hours = slice(max(first, start) - start, min(last + 1, stop) - start)
        can = np.full(last + 1 - first, power_kw * scale)
        can[0] *= 1.0 - late
        can[-1] *= 1.0 - early
        can = can[max(first, start) - first : min(last + 1, stop) - first]
        drawn = np.minimum(left[hours, who], can)
        sum_ = np.cumsum(drawn) * case.dt_h
        drawn = np.diff(np.minimum(sum_, energy_kwh * scale), prepend=0.0) / case.dt_h
        left[hours, who] -= drawn
        kwh[0, who] += drawn.sum() * case.dt_h
    return kwh
