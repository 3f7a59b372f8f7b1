"""What tab completion shows of the packages: public names, whatever rooms have been imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


def printed(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("package", ["amm_opt", "formulations"])
def test_completion_shows_public_names_only(package: str) -> None:
    code = f"import amm_opt.study.cli, amm_opt.testing, {package} as p; print(*dir(p)); print('|', *p.__all__)"
    words = printed(code)
    at = words.index("|")
    shown = [name for name in words[:at] if not (name.startswith("__") and name.endswith("__"))]
    assert sorted(shown) == sorted(words[at + 1 :])
    assert {"__all__", "__doc__", "__file__", "__name__"} <= set(words[:at])


def test_the_room_and_the_function_have_names_of_their_own() -> None:
    code = "import amm_opt.simulation, amm_opt as ao; print(type(ao.simulation).__name__, type(ao.simulate).__name__)"
    assert printed(code) == ["module", "function"]


def test_no_public_name_hides_a_room() -> None:
    code = (
        "import amm_opt, pkgutil; print(*{m.name for m in pkgutil.iter_modules(amm_opt.__path__)} & {*amm_opt.__all__})"
    )
    assert printed(code) == []
