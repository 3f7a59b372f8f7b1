"""Runs the notebooks of docs/notebooks and writes what they print and draw into them.

    python benchmarks/pages/notebooks.py [--out docs/notebooks] [NAME ...]

All run in one kernel, one after the other, each with names of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
SMALL = "%matplotlib inline\nimport matplotlib; matplotlib.rcParams['figure.dpi'] = 80"
"""What the kernel is told first: pictures stay small."""
LIMIT_S = 300


def executed(paths: Iterable[Path]) -> Iterator[tuple[Path, Any]]:
    """Notebooks with what their cells give, as they are done.

    Raises:
        CellExecutionError: with the cell and its error.
    """
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(extra_arguments=["--log-level=40"])
    try:
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            code = [cell for cell in notebook.cells if cell.cell_type == "code"]
            ready = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"%reset -f\n{SMALL}")])
            for book in (ready, notebook):
                NotebookClient(book, km=kernel, timeout=LIMIT_S).execute(reset_kc=False, cleanup_kc=False)
            for cell in code:
                cell.metadata.pop("execution", None)
            for number, cell in enumerate(code, start=1):
                cell.execution_count = number
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = number
            yield path, notebook
    finally:
        kernel.shutdown_kernel(now=True)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, exists=True), default=NOTEBOOKS)
def main(names: tuple[str, ...], out: Path) -> None:
    """Run these notebooks, or all, and keep their outputs."""
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    for path, notebook in executed(path for path in found if not names or path.stem in names):
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, out / path.name)
        click.echo(path.name)


if __name__ == "__main__":
    main()
