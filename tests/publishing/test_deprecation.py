"""Names that go: the warning stands at the caller, and none stays beyond its release."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

import amm_opt as ao
from amm_opt.errors import deprecated, release

ROOT = Path(__file__).parents[2]


@deprecated("twice", since="0.2", removal="0.4")
def double(x: float, *, times: int = 1) -> float:
    """Twice x."""
    return 2 * x * times


class Old:
    @property
    @deprecated("Old.new", since="0.2", removal="1.0")
    def old(self) -> str:
        return "value"


def test_a_call_works_and_warns_where_it_stands() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"^double is deprecated since 0\.2 and goes with 0\.4: use twice$"
    ) as seen:
        assert double(2.0, times=3) == 12.0
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="use Old.new"):
        assert Old().old == "value"
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    assert "0.4" in double.__deprecated__  # type: ignore[attr-defined]


@pytest.mark.parametrize(("since", "removal"), [("0.4", "0.4"), ("0.10", "0.9"), ("0.4.1", "0.4"), ("next", "0.9")])
def test_a_name_goes_with_a_later_release(since: str, removal: str) -> None:
    with pytest.raises(ValueError, match=r"is not later than|is no release"):
        deprecated("new", since=since, removal=removal)


def test_nothing_stays_beyond_its_release() -> None:
    for room in ("amm_opt", "formulations"):
        for path in (ROOT / room).rglob("*.py"):
            for removal in re.findall(r"@deprecated\([^)]*removal=\"([\d.]+)\"", path.read_text(encoding="utf-8")):
                assert release(ao.__version__) < release(removal), path


def test_earlier_names_that_are_kept_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ao.load_run is ao.open_run
        assert ao.load_comparison is ao.open_comparison
