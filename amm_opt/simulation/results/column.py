"""What a summary column is: ours and those that users write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from amm_opt.errors import InputError
from amm_opt.fields import Checked, not_callable

Kind = Literal["count", "energy", "index", "ratio", "percent", "voltage", "time", "money", "number"]
FORMATS: dict[Kind, str] = {
    "count": ".0f",
    "energy": ".2f",
    "index": ".4f",
    "ratio": ".3f",
    "percent": ".2f",
    "voltage": ".4f",
    "time": ".1f",
    "money": ".2f",
    "number": ".4g",
}
"""How the terminal writes a number of each kind."""
BESIDE = ("mechanism", "solver", "claim", "claim_words")
"""What stands beside the columns in tables and documents."""


@dataclass(frozen=True)
class Column(Checked):
    """One number of every run, in its summary and in tables.

    Attributes:
        name: the key in ``run.summary`` and the heading in tables.
        compute: gives the number of a finished run, as ``compute(run)``; None where only its value is known, as of a
            run that was read from disk.
        unit: such as MWh; empty for plain numbers.
        kind: a count is a whole number, an index or a ratio has no unit.
        better: which way is better; None for neither.
        meaning: in one line.
        header: on the terminal, over several short lines.
        form: how the terminal writes the number, such as ``.2f``; by kind where it is empty.

    Raises:
        InputError: anything of the wrong kind.
    """

    name: str
    compute: Callable[..., float | None] | None = None
    unit: str = ""
    kind: Kind = "number"
    better: Literal["higher", "lower"] | None = None
    meaning: str = ""
    header: str = ""
    form: str = ""

    def __post_init__(self) -> None:
        problem = "" if self.compute is None else not_callable(self.compute, "compute")
        if not self.name.strip() or not self.name.isprintable():
            problem = f"{self.name!r} is not the name of a column"
        if problem:
            raise InputError(problem, subject="column")
        object.__setattr__(self, "header", self.header or self.name.replace("_", "\n"))
        object.__setattr__(self, "form", self.form or FORMATS[self.kind])

    def of(self, *runs: Any) -> float | None:
        """The number of a run; None where it does not apply or only its value is known."""
        return None if self.compute is None else self.compute(*runs)

    @property
    def about(self) -> dict[str, Any]:
        """What is stored of it with a run."""
        return {name: getattr(self, name) for name in ("name", "unit", "kind", "better", "meaning")}


def checked_columns(columns: Any, taken: Sequence[str]) -> tuple[Column, ...]:
    """A user's own columns.

    Args:
        taken: names that they cannot have.

    Raises:
        InputError: what is no column or computes nothing, and names that are taken or stand twice.
    """
    listed = list(columns) if isinstance(columns, list | tuple) else [columns]
    problems, names = [], [*taken, *BESIDE]
    for column in listed:
        if not isinstance(column, Column):
            problems.append(f"columns are Columns, not {type(column).__name__}")
            continue
        if column.compute is None:
            problems.append(f"column {column.name!r} has no compute(run)")
        if column.name in names:
            problems.append(f"the name {column.name!r} of a column is taken")
        names.append(column.name)
    if problems:
        raise InputError(problems)
    return tuple(listed)
