"""Random numbers by name: what is drawn for somebody in an interval depends on neither order nor sequence.

Number t of the stream of a name is output t of SplitMix64 with a seed that is a digest of seed, purpose and name
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, doi 10.1145/2660193.2660195). So
a run that is taken up again, cut into other blocks or spread over processes meets the same errors, and so does the same
participant in another place of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from amm_opt.arrays import FloatArray

_GAMMA, _FIRST, _SECOND = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def bits(keys: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(T, n) outputs ``numbers`` (T,), counted from 0, of SplitMix64 with the seeds ``keys`` (n,)."""
    with np.errstate(over="ignore"):
        z = keys + (numbers[:, None] + np.uint64(1)) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


@lru_cache(maxsize=64)
def _keys(seed: int, purpose: str, names: tuple[str, ...]) -> NDArray[np.uint64]:
    text = (f"{seed}\0{purpose}\0{name}".encode("utf-8", "surrogatepass") for name in names)
    return np.array([int.from_bytes(blake2b(t, digest_size=8).digest(), "little") for t in text], dtype=np.uint64)


def uniform(seed: int, purpose: str, names: Sequence[str], start: int, stop: int) -> FloatArray:
    """(stop - start, n) numbers inside (0, 1) for everybody named in each of the intervals."""
    raw = bits(_keys(seed, purpose, tuple(names)), np.arange(start, stop, dtype=np.uint64))
    return np.asarray(((raw >> np.uint64(11)) + 0.5) * 2.0**-53, dtype=float)


def normal(seed: int, purpose: str, names: Sequence[str], start: int, stop: int) -> FloatArray:
    """(stop - start, n) standard normal numbers, likewise."""
    return standard(uniform(seed, purpose, names, start, stop))


def standard(u: FloatArray) -> FloatArray:
    """Standard normal numbers from those inside (0, 1)."""
    return np.asarray(ndtri(u), dtype=float)


def once(seed: int, purpose: str, names: Sequence[str]) -> FloatArray:
    """(n,) numbers inside (0, 1), one for each name."""
    return np.asarray(uniform(seed, purpose, names, 0, 1)[0], dtype=float)
