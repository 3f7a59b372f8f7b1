"""What notebooks show."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd


def as_html(title: str, table: pd.DataFrame) -> str:
    """A line and a table, in which names and numbers stand as text."""
    return f"<p>{html.escape(title)}</p>{table.to_html(escape=True, na_rep='')}"


def facts(title: str, values: dict[str, Any]) -> str:
    """A line and what is known, one row each."""
    return as_html(title, pd.DataFrame({"": [str(value) for value in values.values()]}, index=list(values)))
