"""Values of the expressions in MATPOWER cases: matrices of numbers, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from amm_opt.errors import InputError, counted

MAX_ELEMENTS = 20_000_000
Matrix = np.ndarray
"""Two-dimensional, of numbers or truth values."""


class Cell(list[Any]):
    """A cell array; kept, never computed with."""


def _numbered(names: str, given: Mapping[str, int]) -> dict[str, int]:
    out: dict[str, int] = {}
    for k, name in enumerate(names.split(), 1):
        out[name] = given.get(name, k)
    return out


INDEX_FUNCTIONS: dict[str, dict[str, int]] = {
    "idx_bus": {"PQ": 1, "PV": 2, "REF": 3, "NONE": 4}
    | _numbered("BUS_I BUS_TYPE PD QD GS BS BUS_AREA VM VA BASE_KV ZONE VMAX VMIN LAM_P LAM_Q MU_VMAX MU_VMIN", {}),
    "idx_brch": _numbered(
        "F_BUS T_BUS BR_R BR_X BR_B RATE_A RATE_B RATE_C TAP SHIFT BR_STATUS"
        " PF QF PT QT MU_SF MU_ST ANGMIN ANGMAX MU_ANGMIN MU_ANGMAX",
        {"PF": 14, "QF": 15, "PT": 16, "QT": 17, "MU_SF": 18, "MU_ST": 19, "ANGMIN": 12, "ANGMAX": 13},
    ),
    "idx_gen": _numbered(
        "GEN_BUS PG QG QMAX QMIN VG MBASE GEN_STATUS PMAX PMIN MU_PMAX MU_PMIN MU_QMAX MU_QMIN"
        " PC1 PC2 QC1MIN QC1MAX QC2MIN QC2MAX RAMP_AGC RAMP_10 RAMP_30 RAMP_Q APF",
        {"MU_PMAX": 22, "MU_PMIN": 23, "MU_QMAX": 24, "MU_QMIN": 25}
        | {name: 11 + k for k, name in enumerate(["PC1", "PC2", "QC1MIN", "QC1MAX", "QC2MIN", "QC2MAX", "RAMP_AGC"])}
        | {"RAMP_10": 18, "RAMP_30": 19, "RAMP_Q": 20, "APF": 21},
    ),
    "idx_cost": {"PW_LINEAR": 1, "POLYNOMIAL": 2} | _numbered("MODEL STARTUP SHUTDOWN NCOST COST", {}),
}
"""What MATPOWER's functions of column numbers return, in their order (MATPOWER manual, appendix B)."""
CONSTANTS: dict[str, float] = {
    **{name: float(k) for table in INDEX_FUNCTIONS.values() for name, k in table.items()},
    **{"pi": np.pi, "Inf": np.inf, "inf": np.inf, "NaN": np.nan, "nan": np.nan},
    **{"eps": float(np.finfo(float).eps), "true": 1.0, "false": 0.0},
}


def matrix(value: Any) -> Matrix:
    """A value as a matrix of numbers.

    Raises:
        InputError: where it is a text or a cell array.
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"a {'text' if isinstance(value, str) else 'cell array'} stands where numbers must")
    return value


def scalar(value: float) -> Matrix:
    """A number as a matrix."""
    return np.array([[value]])


def bounded(rows: float, columns: float) -> tuple[int, int]:
    """The size of a new matrix.

    Raises:
        InputError: where it is no size, or too large.
    """
    if not (np.isfinite(rows) and np.isfinite(columns) and rows * columns <= MAX_ELEMENTS):
        raise InputError(f"a matrix of {rows:g} x {columns:g} is too large")
    return max(int(rows), 0), max(int(columns), 0)


def operate(op: str, a: Any, b: Any) -> Matrix:
    """``a op b`` as MATLAB computes it.

    Raises:
        InputError: sizes that do not fit, or an operation that is not followed.
    """
    a, b = matrix(a), matrix(b)
    single = a.size == 1 or b.size == 1
    if op == "*" and not single:
        if a.shape[1] != b.shape[0]:
            raise InputError(f"sizes {a.shape} and {b.shape} do not fit for {op}")
        bounded(a.shape[0], b.shape[1])
        return np.asarray(a.astype(float) @ b.astype(float))
    if (op in ("/", "^") and b.size != 1) or (op == "^" and a.size != 1):
        raise InputError(f"{op} of matrices is not followed (element by element it is .{op})")
    if any(m != n and 1 not in (m, n) for m, n in zip(a.shape, b.shape, strict=True)):
        raise InputError(f"sizes {a.shape} and {b.shape} do not fit for {op}")
    bounded(max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1]))
    with np.errstate(all="ignore"):
        result = np.asarray(_OPERATIONS[op](a, b))
        if op in ("^", ".^") and np.any(np.isnan(result) & ~np.isnan(a) & ~np.isnan(b)):
            raise InputError("a root of a negative number is not followed")
    return result


def _numeric(f: Callable[[Matrix, Matrix], Any]) -> Callable[[Matrix, Matrix], Any]:
    return lambda a, b: f(a.astype(float), b.astype(float))


_OPERATIONS: dict[str, Callable[[Matrix, Matrix], Any]] = {
    "+": _numeric(np.add),
    "-": _numeric(np.subtract),
    "*": _numeric(np.multiply),
    ".*": _numeric(np.multiply),
    "/": _numeric(np.divide),
    "./": _numeric(np.divide),
    "^": _numeric(np.power),
    ".^": _numeric(np.power),
    "==": np.equal,
    "~=": np.not_equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "&": np.logical_and,
    "&&": np.logical_and,
    "|": np.logical_or,
    "||": np.logical_or,
}


def span(parts: Sequence[Any]) -> Matrix:
    """``a:b`` or ``a:step:b``."""
    numbers = [float(matrix(p).flat[0]) if matrix(p).size else np.nan for p in parts]
    first, step, last = numbers if len(numbers) == 3 else (numbers[0], 1.0, numbers[1])
    if not np.all(np.isfinite(numbers)) or step == 0:
        raise InputError(f"the range {':'.join(f'{n:g}' for n in numbers)} is not followed")
    count = np.floor((last - first) / step * (1 + 1e-15) + 1e-12) + 1
    return first + step * np.arange(bounded(1, count)[1], dtype=float)[None, :]


def stacked(rows: Sequence[Sequence[Any]]) -> Any:
    """``[a b; c d]``.

    Raises:
        InputError: parts whose sizes do not fit.
    """
    if len(rows) == 1 and all(isinstance(v, str) for v in rows[0]) and rows[0]:
        return "".join(rows[0])
    wide = []
    for k, row in enumerate(rows, 1):
        parts = [m for m in map(matrix, row) if m.size]
        if len({len(m) for m in parts}) > 1:
            raise InputError(f"parts of row {k} have different heights")
        if parts:
            wide.append(np.concatenate(parts, axis=1))
    if len({m.shape[1] for m in wide}) > 1:
        odd = next(k for k, m in enumerate(wide) if m.shape[1] != wide[0].shape[1])
        raise InputError(f"row {odd + 1} has {wide[odd].shape[1]} numbers, row 1 has {wide[0].shape[1]}")
    return np.concatenate(wide) if wide else np.zeros((0, 0))


def _elementwise(f: Any) -> Callable[..., Matrix]:
    def apply(value: Any) -> Matrix:
        x = matrix(value).astype(float)
        with np.errstate(all="ignore"):
            y = np.asarray(f(x))
        if np.any(np.isnan(y) & ~np.isnan(x)):
            raise InputError("the result is no real number")
        return y

    return apply


def _along(f: Any) -> Callable[..., Matrix]:
    """sum, min, ...: of columns, of a row or column as a whole, or along the given dimension."""

    def apply(value: Any, dimension: Any = None) -> Matrix:
        x = matrix(value)
        axis = (1 if x.shape[0] == 1 else 0) if dimension is None else int(matrix(dimension).flat[0]) - 1
        if axis not in (0, 1) or x.shape[axis] == 0:
            raise InputError("an empty matrix or an unknown dimension")
        return np.asarray(f(x, axis=axis, keepdims=True))

    return apply


def _extreme(f: Any, pair: Any) -> Callable[..., Matrix]:
    alone = _along(f)

    def apply(*given: Any) -> Matrix:
        if len(given) == 2:
            bounded(*np.maximum(matrix(given[0]).shape, matrix(given[1]).shape))
            return np.asarray(pair(*np.broadcast_arrays(matrix(given[0]), matrix(given[1]))))
        return alone(*given)

    return apply


def _filled(value: float) -> Callable[..., Matrix]:
    def apply(*size: Any) -> Matrix:
        numbers = [float(n) for s in size for n in matrix(s).flat]
        if len(numbers) not in (0, 1, 2):
            raise InputError("only matrices of two dimensions are followed")
        return np.full(bounded(*((numbers * 2)[:2] if numbers else (1, 1))), value)

    return apply


def _size(value: Any, dimension: Any = None) -> Matrix:
    shape = (len(value), 1) if isinstance(value, Cell) else matrix(value).shape
    if dimension is None:
        return np.array([shape], dtype=float)
    which = float(matrix(dimension).flat[0])
    return scalar(float(shape[int(which) - 1]) if which in (1, 2) else 1.0)


def _find(value: Any) -> Matrix:
    x = matrix(value)
    places = np.flatnonzero(x.ravel(order="F")) + 1.0
    return places[None, :] if x.shape[0] == 1 and x.shape[1] != 1 else places[:, None]


FUNCTIONS: dict[str, Callable[..., Matrix]] = {
    **{
        name: _elementwise(getattr(np, numpy_name))
        for name, numpy_name in (
            *((n, n) for n in ("sqrt", "sin", "cos", "tan", "exp", "log", "log10", "log2", "abs", "floor", "ceil")),
            *(("asin", "arcsin"), ("acos", "arccos"), ("atan", "arctan"), ("fix", "trunc"), ("sign", "sign")),
            *(("deg2rad", "deg2rad"), ("rad2deg", "rad2deg")),
        )
    },
    "round": _elementwise(lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5)),
    "sum": _along(np.sum),
    "prod": _along(np.prod),
    "mean": _along(np.mean),
    "any": _along(np.any),
    "all": _along(np.all),
    "min": _extreme(np.min, np.fmin),
    "max": _extreme(np.max, np.fmax),
    "ones": _filled(1.0),
    "zeros": _filled(0.0),
    "size": _size,
    "length": lambda x: scalar(float(max(_size(x)[0]) if min(_size(x)[0]) else 0)),
    "numel": lambda x: scalar(float(np.prod(_size(x)))),
    "isempty": lambda x: np.array([[bool(np.prod(_size(x)) == 0)]]),
    "isnan": lambda x: np.isnan(matrix(x)),
    "find": _find,
}
"""What may be called. Everything else is refused."""


def places(index: Any, length: int, *, growing: bool = False) -> np.ndarray:
    """Positions from 0 that an index selects along ``length`` elements; ``None`` stands for the colon.

    Raises:
        InputError: positions that are no whole numbers, below 1, or (unless ``growing``) beyond the end.
    """
    if index is None:
        return np.arange(length)
    where = matrix(index)
    if where.dtype == bool:
        chosen = np.flatnonzero(where.ravel(order="F"))
    else:
        numbers = where.ravel(order="F")
        if not np.all(np.isfinite(numbers)) or np.any(numbers != np.round(numbers)) or np.any(numbers < 1):
            raise InputError(f"{numbers[:1].tolist() or ''} is no position")
        chosen = numbers.astype(np.intp) - 1
    if len(chosen) and chosen.max() >= length and not growing:
        raise InputError(f"position {chosen.max() + 1} is beyond the end, {length}")
    return chosen


def taken(value: Matrix, indices: Sequence[Any]) -> Matrix:
    """``value(i)`` or ``value(i, j)``."""
    if len(indices) == 2:
        rows, columns = (places(i, n) for i, n in zip(indices, value.shape, strict=True))
        bounded(len(rows), len(columns))
        return np.asarray(value[np.ix_(rows, columns)])
    if len(indices) != 1:
        raise InputError(f"{counted(len(indices), 'index is', 'indices are')} not followed")
    flat = value.ravel(order="F")[places(indices[0], value.size)]
    if indices[0] is None:
        return np.asarray(flat[:, None])
    shape = indices[0].shape if indices[0].dtype != bool and 1 not in value.shape else None
    if shape is None:
        return np.asarray(flat[None, :] if value.shape[0] == 1 and value.shape[1] != 1 else flat[:, None])
    return np.asarray(flat.reshape(shape, order="F"))


def put(value: Matrix, indices: Sequence[Any], new: Matrix) -> Matrix:
    """A copy of ``value`` after ``value(i) = new`` or ``value(i, j) = new``; it grows with zeros as in MATLAB."""
    if len(indices) == 1:
        if value.shape[0] != 1 and value.shape[1] != 1 and indices[0] is not None:
            chosen = places(indices[0], value.size)
        else:
            chosen = places(indices[0], value.size, growing=value.shape[0] <= 1)
        size = int(chosen.max(initial=-1)) + 1
        out = _grown(value, 1, size) if size > value.size else value.astype(float)
        flat = out.ravel(order="F")
        flat[chosen] = _fitting(new, (len(chosen), 1)).ravel(order="F")
        return np.asarray(flat.reshape(out.shape, order="F"))
    if len(indices) != 2:
        raise InputError(f"{counted(len(indices), 'index is', 'indices are')} not followed")
    rows, columns = (places(i, n, growing=True) for i, n in zip(indices, value.shape, strict=True))
    out = _grown(value, int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
    out[np.ix_(rows, columns)] = _fitting(new, (len(rows), len(columns)))
    return out


def _grown(value: Matrix, rows: int, columns: int) -> Matrix:
    out = np.zeros(bounded(max(rows, value.shape[0]), max(columns, value.shape[1])))
    out[: value.shape[0], : value.shape[1]] = value
    return out


def _fitting(new: Matrix, shape: tuple[int, int]) -> Matrix:
    if new.size == 1:
        return np.full(shape, new.flat[0], dtype=float)
    same = new.shape == shape or (1 in shape and 1 in new.shape and new.size == shape[0] * shape[1])
    if not same:
        raise InputError(f"{new.shape[0]} x {new.shape[1]} values do not fit into {shape[0]} x {shape[1]} places")
    return new.astype(float).reshape(shape)
