"""A case split into its upper tier and its LV feeders, each a case of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.cases.case import Case, power_factors
from amm_opt.cases.requests import Requests
from amm_opt.errors import InputError

_FACTORS = ["power_factor", "power_factor_import", "power_factor_export"]
UPPER = "upper tier"
_LIMITS = ["connection_import_kw", "connection_export_kw"]


@dataclass(frozen=True, eq=False)
class Tier:
    """A part of a case that is matched by itself.

    Attributes:
        case: the part as a case.
        bus: index in the whole feeder of each of its buses.
        participant: (n of the whole) index of the participant of the part that stands for each of the whole's, or -1.
        upper: whether this is the upper tier, or else an LV feeder, whose participants are some of the whole's.
    """

    case: Case
    bus: IntArray
    participant: IntArray
    upper: bool

    @cached_property
    def who(self) -> IntArray:
        """The whole's participants that are in this part."""
        return np.flatnonzero(self.participant >= 0)

    @cached_property
    def member(self) -> sp.csr_array:
        """(n of the part, n of the whole) matrix that adds participants up."""
        shape = (self.case.n_participants, len(self.participant))
        return sp.csr_array((np.ones(len(self.who)), (self.participant[self.who], self.who)), shape=shape)

    def added(self, power_kw: FloatArray) -> FloatArray:
        """(..., n of the whole) powers added up to (..., n of the part)."""
        return np.asarray((self.member @ power_kw.T).T) if self.upper else power_kw[..., self.who]

    def requests(self, requests: Requests) -> Requests:
        """What the part asks for."""
        load, imports, exports = requests.inflexible_kw, requests.import_request_kw, requests.export_request_kw
        powers = self.added(load), self.added(imports), self.added(exports)
        kvar = requests.inflexible_kvar if self.case.profiles.has_kvar else None
        added = None if kvar is None else self.added(kvar)
        return Requests(*powers, requests.start, requests.dt_h, requests.times, added)


def split(case: Case) -> tuple[Tier, list[Tier]]:
    """The upper tier, in which each LV feeder is one participant at the bus that feeds it, and the LV feeders.

    An LV feeder keeps the path from the source to it, so that its own use moves its voltages there too. Participants of
    the upper tier are the LV feeders that have customers, in their order, and then the upper tier's own customers.
    A feeder's power factors there are the means of its customers', weighted by their connection limits.

    Raises:
        InputError: where there is no LV feeder, or one of them is fed from several buses or feeds others.
    """
    feeder = case.feeder
    used = [f for f in range(len(feeder.lv_feeders)) if np.any(case.lv_feeder == f)]
    problems, above = [], []
    for f in used:
        inside = feeder.lv_feeder == f
        roots = np.flatnonzero(inside & ~np.append(False, inside[feeder.parent[1:]]))
        parents = np.unique(feeder.parent[roots])
        above.append(int(parents[0]))
        name = feeder.lv_feeders[f]
        if parents[0] < 0:
            problems.append(f"LV feeder {name!r} contains the source, so no upper tier feeds it")
        elif len(parents) > 1:
            buses = ", ".join(repr(feeder.bus_names[b]) for b in parents)
            problems.append(f"LV feeder {name!r} is fed from several buses: {buses}")
        below = np.flatnonzero(~inside & np.append(False, inside[feeder.parent[1:]]))
        if len(below):
            problems.append(f"LV feeder {name!r} feeds bus {feeder.bus_names[below[0]]!r}, which is not part of it")
    if not used:
        problems.append("no customer is in an LV feeder")
    if problems:
        raise InputError(problems, subject=f"case {case.name} cannot be split into two tiers")
    return _upper(case, used, above), [_lower(case, f, bus) for f, bus in zip(used, above, strict=True)]


def _upper(case: Case, used: Sequence[int], above: Sequence[int]) -> Tier:
    feeder = case.feeder
    own = np.flatnonzero(case.lv_feeder < 0)
    group = np.full(case.n_participants, -1, dtype=np.intp)
    group[own] = len(used) + np.arange(len(own))
    for g, f in enumerate(used):
        group[case.lv_feeder == f] = g
    count = len(used) + len(own)
    member = sp.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(count, len(group)))
    limit = case.participants[_LIMITS].to_numpy(dtype=float)
    weight = np.where(np.isfinite(limit), limit, 1.0).sum(axis=1) + 1e-9
    ratio = (member @ (weight * np.stack(case.kvar_per_kw)).T).T / (member @ weight)
    feeders = pd.DataFrame(
        np.vstack([power_factors(ratio), (member @ limit).T])[:, : len(used)].T, columns=[*_FACTORS, *_LIMITS]
    )
    feeders.insert(0, "name", [feeder.lv_feeders[f] for f in used])
    feeders.insert(1, "bus", [feeder.bus_names[b] for b in above])
    feeders["inflexible_kvar"] = (member @ case.inflexible_kvar)[: len(used)]
    participants = pd.concat([feeders, case.participants.iloc[own]], ignore_index=True)
    return _tier(case, UPPER, ~np.isin(feeder.lv_feeder, used), participants, group)


def _lower(case: Case, f: int, above: int) -> Tier:
    feeder = case.feeder
    keep = feeder.lv_feeder == f
    bus = above
    while bus >= 0:
        keep[bus] = True
        bus = int(feeder.parent[bus])
    inside = case.lv_feeder == f
    to = np.where(inside, np.cumsum(inside) - 1, -1)
    name = f"LV feeder {feeder.lv_feeders[f]}"
    return _tier(case, name, keep, case.participants[inside].reset_index(drop=True), to)


def _tier(case: Case, name: str, keep: BoolArray, participants: pd.DataFrame, to: IntArray) -> Tier:
    part = replace(
        case,
        name=name,
        feeder=case.feeder.select(keep),
        participants=participants,
        profiles=case.profiles.assigned(to),
        source="",
        own_layers={},
    )
    return Tier(part, np.flatnonzero(keep), to, upper=name == UPPER)
