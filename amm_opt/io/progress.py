"""Progress bars for whatever takes long, on terminals and in notebooks; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from amm_opt.io.text import plain

NAME_WIDTH = 40


@contextmanager
def progress_bars(*labels: str) -> Iterator[Callable[..., None] | None]:
    """Bars that vanish when the work is done, for every argument called ``progress``.

    ``with ao.progress_bars("amm") as report: ao.simulate(case, "amm", progress=report)``

    It gives a function that is called with (done, all), or with (label, done, all) where there are several bars; a bar
    is made for a label when it is first named. On a terminal bars are on standard error. In notebooks they need
    ipywidgets: ``pip install 'amm-opt[notebook]'``. Elsewhere, as in pipes and tests, it gives None and shows nothing.

    Args:
        labels: bars that are there from the beginning; the first is that of calls without a label.
    """
    from rich import progress as bar
    from rich.console import Console
    from rich.table import Column

    console = Console(stderr=True)
    if not (_widgets() if console.is_jupyter else console.is_terminal):
        yield None
        return
    name = bar.TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    )
    times = (bar.TimeElapsedColumn(), bar.TimeRemainingColumn())
    columns = (name, bar.BarColumn(), bar.MofNCompleteColumn(), *times)
    with bar.Progress(*columns, console=console, transient=True) as bars:
        tasks = {label: bars.add_task(plain(label), total=None) for label in labels}

        def report(*given: Any) -> None:
            *named, done, total = given
            label = named[0] if named else labels[0] if labels else ""
            if label not in tasks:
                tasks[label] = bars.add_task(plain(label), total=None)
            bars.update(tasks[label], completed=done, total=total)

        yield report


@contextmanager
def working(sentence: str) -> Iterator[None]:
    """A sign that something goes on whose length is not known, on standard error where it is a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(plain(sentence))):
        yield


def _widgets() -> bool:
    return find_spec("ipywidgets") is not None
