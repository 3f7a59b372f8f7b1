"""Currents and voltages of a radial feeder on phases a, b, c, as sweeps over its trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import ComplexArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import PHASES
from amm_opt.network.models.sweeps import Forest

_BALANCED = np.exp(-2j * np.pi / 3 * np.arange(3))
_DELTA = {
    "Dyn11": np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]]) / np.sqrt(3),
    "Dyn1": np.array([[1, 0, -1], [-1, 1, 0], [0, -1, 1]]) / np.sqrt(3),
}
_TURNED = {
    **{name: m for group, m in _DELTA.items() for name in (group, group.replace("n", ""))},
    **{f"{name} reversed": m.T for group, m in _DELTA.items() for name in (group, group.replace("n", ""))},
}
"""Voltages to neutral below, in terms of those above; below a delta those of the equivalent star."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Buses with the same number of transformer ratios above them, one tree for each transformer.

    Attributes:
        bus: (k,) buses, depth-first.
        forest: sums over those trees.
        head: (roots,) the trees' roots; ``parent`` the buses upstream of them.
        ratio: (3, 3, roots) voltages below = ratio @ voltages above, in per unit; empty at the source.
    """

    bus: IntArray
    forest: Forest
    head: IntArray
    parent: IntArray
    ratio: ComplexArray


class PhaseSweeps:
    """Ohm's and Kirchhoff's laws of a feeder, in arrays (..., 3, n_buses) over phases and buses, in per unit.

    A phase that a bus does not have carries no current. Grounded stars whose delta is away from the source draw by the
    zero-sequence voltage that they meet (``Feeder.star_kva``).

    Args:
        feeder: a feeder on named phases.
    """

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder
        self._z = _impedances(feeder)
        self._stages = _stages(feeder)
        self._stars = np.flatnonzero(feeder.star_kva)

    def sending(self, v: ComplexArray) -> ComplexArray:
        """Voltages at the upper end of every branch's impedance, behind its ratio: (3, n) in and out."""
        sending = v[:, np.maximum(self._feeder.parent, 0)]
        for stage in self._stages[1:]:
            sending[:, stage.head] = np.einsum("ijr,jr->ir", stage.ratio, v[:, stage.parent])
        return sending

    @property
    def source(self) -> ComplexArray:
        """(3,) voltages of the source."""
        return np.asarray(self._feeder.v_source_pu * _BALANCED)

    def currents(self, injected: ComplexArray) -> ComplexArray:
        """Branch currents, away from the source, from injected currents: (..., 3, n) in and out."""
        load = -injected
        current = np.empty_like(load)
        for stage in reversed(self._stages):
            current[..., stage.bus] = stage.forest.below(load[..., stage.bus])
            if stage.ratio.size:
                above = np.einsum("jir,...jr->...ir", np.conj(stage.ratio), current[..., stage.head])
                _add(load, stage.parent, above)
        return current

    def voltages(self, current: ComplexArray) -> ComplexArray:
        """Voltages from branch currents: (..., 3, n) in and out."""
        step = -_times(self._z, current)
        v = np.empty_like(step)
        for stage in self._stages:
            if stage.ratio.size:
                step[..., stage.head] += np.einsum("ijr,...jr->...ir", stage.ratio, v[..., stage.parent])
            else:
                step[..., 0] = self.source
            v[..., stage.bus] = stage.forest.along(step[..., stage.bus])
        return v

    def through_stars(self, v: ComplexArray) -> ComplexArray:
        """Currents that grounded stars inject at voltages: (..., 3, n) in and out."""
        out = np.zeros_like(v)
        out[..., self._stars] = (v.mean(axis=-2) * np.conj(self._feeder.star_kva))[..., None, self._stars]
        return out

    def solved(self, injected: ComplexArray) -> ComplexArray:
        """Voltages under injected currents, with what grounded stars draw at these voltages: (..., 3, n) in and out."""
        v = self.voltages(self.currents(injected))
        if len(self._stars):
            response, inverse = self._star_response
            zero = v[..., self._stars].mean(axis=-2) @ inverse.T
            v += np.einsum("...k,kin->...in", zero, response)
        return v

    @cached_property
    def _star_response(self) -> tuple[ComplexArray, ComplexArray]:
        """(K, 3, n) voltages that a zero-sequence voltage of 1 pu at each star brings about, and what it becomes."""
        count, n = len(self._stars), self._feeder.n_buses
        unit = np.zeros((count, 3, n), dtype=complex)
        unit[np.arange(count), :, self._stars] = np.conj(self._feeder.star_kva[self._stars])[:, None]
        response = self.voltages(self.currents(unit)) - self.voltages(np.zeros((3, n), dtype=complex))
        own = response[..., self._stars].mean(axis=1).T
        return response, np.asarray(np.linalg.inv(np.eye(count) - own))

    def adjoint(self, on_v: ComplexArray, on_i: ComplexArray) -> ComplexArray:
        """Weights of injected currents that weights of voltages and branch currents amount to: (K, 3, n)."""
        on_step = np.empty_like(on_v)
        for stage in reversed(self._stages):
            on_step[..., stage.bus] = stage.forest.below(on_v[..., stage.bus])
            if stage.ratio.size:
                above = np.einsum("jir,...jr->...ir", stage.ratio, on_step[..., stage.head])
                _add(on_v, stage.parent, above)
        on_step[..., 0] = 0.0
        on_i = on_i - _times(self._z, on_step)
        on_load = np.empty_like(on_i)
        for stage in self._stages:
            if stage.ratio.size:
                on_i[..., stage.head] += np.einsum("ijr,...jr->...ir", np.conj(stage.ratio), on_load[..., stage.parent])
            on_load[..., stage.bus] = stage.forest.along(on_i[..., stage.bus])
        return -on_load

    def matrices(self) -> tuple[sp.csr_array, sp.csr_array]:
        """Sparse (3n, 3n) ratios (child from parent) and impedances."""
        n = self._feeder.n_buses
        child = np.arange(1, n)
        blocks = np.zeros((3, 3, n), dtype=complex)
        blocks[range(3), range(3), 1:] = 1.0
        for stage in self._stages[1:]:
            blocks[:, :, stage.head] = stage.ratio
        i, j, b = np.meshgrid(np.arange(3), np.arange(3), child, indexing="ij")
        to, shape = (i * n + b).ravel(), (3 * n, 3 * n)
        ratio = sp.csr_array((blocks[:, :, 1:].ravel(), (to, (j * n + self._feeder.parent[b]).ravel())), shape=shape)
        z = sp.csr_array((self._z[:, :, 1:].ravel(), (to, (j * n + b).ravel())), shape=shape)
        ratio.eliminate_zeros()
        z.eliminate_zeros()
        return ratio, z


def _impedances(feeder: Feeder) -> ComplexArray:
    """(3, 3, n) impedances in pu per kVA of one phase."""
    z = np.zeros((3, 3, feeder.n_buses), dtype=complex)
    by_phases: dict[tuple[str, ...], list[int]] = {}
    for b, phases in enumerate(feeder.branch_phases[1:], 1):
        by_phases.setdefault(phases, []).append(b)
    for phases, buses in by_phases.items():
        at = [PHASES.index(p) for p in phases]
        stacked = np.stack([feeder.z_ohm[b] for b in buses], axis=-1)
        z[np.ix_(at, at, buses)] = stacked
    return np.asarray(z * 3.0 / (1000.0 * feeder.vn_kv**2))


def _stages(feeder: Feeder) -> list[Stage]:
    n = feeder.n_buses
    ratio_1 = (feeder.phase_tap == 1.0).all(axis=1)
    cut = np.array([not one or g not in ("", "YNyn0") for one, g in zip(ratio_1, feeder.vector_group, strict=True)])
    level = np.zeros(n, dtype=np.intp)
    for b in range(1, n):
        level[b] = level[feeder.parent[b]] + cut[b]
    stages = []
    for at in range(int(level.max()) + 1):
        bus = np.flatnonzero(level == at)
        head = bus[cut[bus]] if at else bus[:1]
        ratios = (
            [_TURNED.get(feeder.vector_group[b], np.eye(3)) / feeder.phase_tap[b][:, None] for b in head] if at else []
        )
        ratio = np.stack(ratios, axis=-1).astype(complex) if ratios else np.zeros((3, 3, 0), dtype=complex)
        forest = Forest(np.searchsorted(bus, feeder.subtree_end[bus]))
        stages.append(Stage(bus, forest, head, feeder.parent[head], ratio))
    return stages


def _times(z: ComplexArray, current: ComplexArray) -> ComplexArray:
    """Impedance (3, 3, n), symmetric, times current (..., 3, n)."""
    out = z[:, 0] * current[..., 0:1, :]
    out += z[:, 1] * current[..., 1:2, :]
    out += z[:, 2] * current[..., 2:3, :]
    return np.asarray(out)


def _add(array: ComplexArray, at: IntArray, values: ComplexArray) -> None:
    """Add values at positions of the last axis; a position may occur several times."""
    np.add.at(np.moveaxis(array, -1, 0), at, np.moveaxis(values, -1, 0))
