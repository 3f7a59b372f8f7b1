"""The one style of all pictures: colours, dashes, units, names as text.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.io.text import fold, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#4d4d4d")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
BEYOND, UNKNOWN = COLOURS[1], "#c4c4c4"
"""Of what is beyond a limit, and of what has no value."""
SCALE, DIVERGING = "cividis", "PuOr"
"""Colour maps that keep their order without colours, and for colour-blind readers."""
DASHES = ("-", (0, (5, 2)), (0, (2, 3)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "osv^D<>pP*X"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.formatter.useoffset": False,
    "figure.titlesize": 11,
    "legend.frameon": False,
    "image.cmap": SCALE,
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "amm-opt",
}
WIDEST, LINES = 30, 3
"""Characters per line and lines of a label."""
NOTE_WIDTH = 80
"""Characters per line of a note in the axes."""
SAME = 2e-3
"""Curves closer than this part of what is drawn lie on each other."""
DPI = 150
HINT = "pictures need matplotlib: pip install 'amm-opt[plot]'"


@contextmanager
def in_style() -> Iterator[None]:
    """Inside, and in functions that it decorates, pictures have our style, and what a font lacks is no warning.

    Raises:
        InputError: where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise InputError(HINT) from error
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


@cache
def _kind() -> type[Figure]:
    """A figure that is also saved in our style, and that notebooks show without further ado."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        @in_style()
        def savefig(self, *args: Any, **kwargs: Any) -> None:
            super().savefig(*args, **{"dpi": DPI, **kwargs})

        def _repr_png_(self) -> bytes:
            file = BytesIO()
            self.savefig(file, format="png", dpi=100)
            return file.getvalue()

    return Picture


def picture(width: float, height: float) -> Figure:
    """An empty picture of a size in inches."""
    return _kind()(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG at one stroke."""
    draft = path.with_name(f"{path.name}.part")
    figure.savefig(draft, dpi=DPI, format="png")
    draft.replace(path)


def styles(labels: Iterable[str], beside: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each label's curve: those that lie on each other show through each other's gaps.

    Args:
        beside: labels that are shown in grey, such as of what keeps no limits.
    """
    grey = {label: {"color": "0.6", "linestyle": (0, (1, 1)), "lw": 1.8} for label in beside}
    return grey | {
        label: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)], "lw": 1.8}
        for i, label in enumerate(label for label in labels if label not in grey)
    }


def plain_log(axis: Axis) -> None:
    """Numbers of a logarithmic axis as plain text, without mathematics."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def power_unit(largest_kw: float) -> tuple[float, str]:
    """In what power is drawn whose largest is this: how many kW that is, and its name."""
    return (1000.0, "MW") if largest_kw >= 1000.0 else (1.0, "kW")


def caption(label: str) -> str:
    """A label as it stands in a picture, over a few lines where it is long."""
    lines = fold(plain(label), WIDEST)
    text = "\n".join([*lines[:LINES], "..."] if len(lines) > LINES else lines)
    return f" {text}" if text.startswith("_") else text


def brief(label: str) -> str:
    """A label on one line, cut where it is long."""
    text = plain(label)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def held(values: ArrayLike) -> FloatArray:
    """Values at the starts of intervals, and the last one again at its end."""
    array = np.asarray(values, dtype=float)
    return np.append(array, array[-1:])


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of one of a figure's axes, below all of them."""
    handles, names = axes.get_legend_handles_labels()
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    columns = max(1, min(5, int(12 * figure.get_figwidth()) // (longest + 8)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, handlelength=3.5)


def said(axes: Axes, text: str) -> None:
    """Nothing is drawn, and why."""
    axes.text(0.5, 0.5, fill(text, 60), transform=axes.transAxes, ha="center", va="center", in_layout=False)


def lines(
    axes: Axes,
    curves: Mapping[str, tuple[Any, ArrayLike]],
    drawn: Mapping[str, dict[str, Any]],
    *,
    step: bool = False,
    note: tuple[float, float] = (0.01, 0.98),
) -> None:
    """Curves by label; those that lie on each other all along are named, at ``note`` of the axes."""
    for label, (x, y) in curves.items():
        axes.plot(x, y, label=caption(label), drawstyle="steps-post" if step else "default", **drawn[label])
    values = {label: np.asarray(y, dtype=float) for label, (_, y) in curves.items()}
    same = _coinciding({label: np.log10(y) if axes.get_yscale() == "log" else y for label, y in values.items()})
    text = "\n".join(fill(" = ".join(map(brief, group)), NOTE_WIDTH) for group in same)
    place: dict[str, Any] = {"ha": "left" if note[0] < 0.5 else "right", "va": "top" if note[1] > 0.5 else "bottom"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
    if text:
        axes.text(*note, text, transform=axes.transAxes, fontsize=7, in_layout=False, bbox=box, **place)


def _coinciding(curves: Mapping[str, FloatArray]) -> list[list[str]]:
    """Groups of two or more curves that lie on each other."""
    known = [y[~np.isnan(y)] for y in curves.values()]
    drawn = np.concatenate(known) if known else np.zeros(0)
    close = SAME * float(np.ptp(drawn)) + 1e-9 if drawn.size else 0.0
    groups: list[list[str]] = []
    for label, y in curves.items():
        for group in groups:
            other = curves[group[0]]
            if y.shape == other.shape and np.allclose(y, other, rtol=0.0, atol=close, equal_nan=True):
                group.append(label)
                break
        else:
            groups.append([label])
    return [group for group in groups if len(group) > 1]
