"""The house stands: floors, circles, private names, sizes. Made-up trees show that each rule notices a breach."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.house import rules

ROOT = Path(__file__).parents[2]


def test_the_house_stands() -> None:
    """By all rules in one test, so that files are read once."""
    breaches = [breach for rule in rules.RULES for breach in rule(ROOT)]
    assert not breaches, "\n" + "\n".join(breaches)


def test_all_of_the_house_is_read() -> None:
    """Else the test above could pass over nothing."""
    seen = {source.module for source in rules.sources(ROOT)}
    assert {"amm_opt", "amm_opt.grid", "amm_opt.solve", "formulations.amm", "tests.house.rules"} <= seen
    assert {rules.room(m) for m in seen if m.startswith("amm_opt.")} == set(rules.LEVEL)


def house(root: Path, **files: str) -> Path:
    """A tree of files, named by their paths without the ending."""
    for name, text in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


SOUND = {
    "amm_opt/__init__": "from amm_opt.cases.case import Case\n",
    "amm_opt/errors": "class InputError(Exception): ...\n",
    "amm_opt/cases/case": "from amm_opt.errors import InputError\nfrom amm_opt import errors\n\nCase = InputError\n",
    "formulations/amm": "import amm_opt as ao\n\nprint(ao.__name__)\n",
}


def test_a_sound_house_has_no_breach(tmp_path: Path) -> None:
    house(tmp_path, **SOUND)
    assert [breach for rule in rules.RULES for breach in rule(tmp_path)] == []


@pytest.mark.parametrize(
    ("rule", "file", "text", "breach"),
    [
        (
            rules.floors,
            "amm_opt/errors",
            "from amm_opt.cases import case",
            "errors.py:1 imports amm_opt.cases.case, from",
        ),
        (rules.floors, "amm_opt/errors", "def f():\n    import amm_opt.cases.case", "from floor 1 up to floor 3"),
        (rules.floors, "amm_opt/cases/tables", "from ..solve import rows", "from floor 3 up to floor 8"),
        (rules.floors, "amm_opt/cases/tables", "import amm_opt", "from floor 3 up to floor 14"),
        (
            rules.floors,
            "amm_opt/study/show",
            "from formulations import amm",
            "show.py:1 imports formulations.amm: amm_opt finds",
        ),
        (rules.floors, "amm_opt/testing/kit", "from tests.helpers import small", "is not installed with the package"),
        (rules.floors, "amm_opt/attic", "", "amm_opt/attic stands on no floor"),
        (
            rules.circles,
            "amm_opt/errors",
            "import amm_opt.cases.case",
            "circle of imports: amm_opt.cases.case -> amm_opt",
        ),
        (rules.circles, "amm_opt/errors", "def f():\n    from amm_opt.cases.case import Case", "circle of imports"),
        (
            rules.private_names,
            "formulations/doe",
            "from amm_opt.errors import _text",
            "doe.py:1 imports _text of amm_opt.errors",
        ),
        (
            rules.private_names,
            "formulations/doe",
            "from amm_opt import errors\nerrors._text",
            "doe.py:2 reads _text of",
        ),
        (rules.private_names, "formulations/doe", "import amm_opt._hidden", "imports amm_opt._hidden"),
        (rules.long_files, "tests/test_long", "x = 1\n" * 400, "tests/test_long.py has 400 lines"),
        (
            rules.long_functions,
            "benchmarks/race",
            "def f():\n" + "    x = 1\n" * 59,
            "race.py:1 f has 60 lines of code",
        ),
    ],
)
def test_each_kind_of_breach_is_noticed(
    tmp_path: Path, rule: Callable[[Path], Iterable[str]], file: str, text: str, breach: str
) -> None:
    house(tmp_path, **{**SOUND, file: text})
    found = list(rule(tmp_path))
    assert len(found) == 1, found
    assert breach in found[0]


def test_full_folders_are_noticed(tmp_path: Path) -> None:
    house(tmp_path, **SOUND, **{f"tests/house/test_{k}": "" for k in range(10)})
    assert list(rules.full_folders(tmp_path)) == []
    house(tmp_path / "fuller", **SOUND, **{f"tests/house/test_{k}": "" for k in range(11)})
    (found,) = rules.full_folders(tmp_path / "fuller")
    assert "tests/house has 11 Python files" in found


def test_docstrings_comments_and_blank_lines_are_no_code(tmp_path: Path) -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n' + "    # why\n\n" * 60 + "    x = 1\n" * 58
    house(tmp_path, **{"tests/test_f": text})
    assert list(rules.long_functions(tmp_path)) == []
