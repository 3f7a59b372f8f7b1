"""Ways in: the module as a command, the list of commands at once, and completion by the shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"numpy", "pandas", "cvxpy", "scipy", "matplotlib", "xarray"}
NOT_OF_A_RUN = {
    "networkx", "pyarrow.parquet", "zarr", "xarray", "rich", "matplotlib",
    "amm_opt.importers", "amm_opt.market.shapley",
}  # fmt: skip


def python(*words: str, **environment: str) -> str:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, env=env).stdout


def test_the_module_is_the_command() -> None:
    said = python("-m", "amm_opt", "--help")
    assert "Usage: python -m amm_opt [OPTIONS] COMMAND" in said
    assert "compare" in said


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_waits_for_no_heavy_package(words: list[str]) -> None:
    """What makes a start slow is not imported; how long it takes is measured (benchmarks)."""
    code = (
        "import sys; from amm_opt.study.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\nprint('|', *sys.modules)"
    )
    loaded = {name.partition(".")[0] for name in python("-c", code).rpartition("|")[2].split()}
    assert not loaded & HEAVY
    assert "click" in loaded


def test_a_run_imports_nothing_that_it_does_not_need() -> None:
    """What it imports is most of its memory; how much that is is measured (benchmarks/size)."""
    code = (
        "import sys, amm_opt as ao\n"
        "run = ao.simulate('synthetic:buses=60,days=1', 'amm', steps=slice(34, 36))\n"
        "print(len(run.times), '|', *sys.modules)"
    )
    said, _, modules = python("-c", code).rpartition("|")
    assert said.split() == ["2"]
    assert not set(modules.split()) & NOT_OF_A_RUN
    assert "cvxpy" in modules.split()


def test_the_shell_completes_commands_without_importing_them() -> None:
    code = (
        "import sys; from amm_opt.study.cli import main\n"
        "try: main(prog_name='amm-opt')\nexcept SystemExit: pass\nprint('|', *sys.modules)"
    )
    given = {"_AMM_OPT_COMPLETE": "bash_complete", "COMP_WORDS": "amm-opt ex", "COMP_CWORD": "1"}
    said, _, modules = python("-c", code, **given).rpartition("|")
    assert said.split() == ["plain,explain", "plain,export"]
    assert not {name.partition(".")[0] for name in modules.split()} & HEAVY
    options = {**given, "COMP_WORDS": "amm-opt export --for", "COMP_CWORD": "2"}
    assert python("-c", code, **options).split("\n")[0] == "plain,--format"
    choices = {**given, "COMP_WORDS": "amm-opt export --format cs", "COMP_CWORD": "3"}
    assert python("-c", code, **choices).rpartition("|")[0].split() == ["plain,csv", "plain,csip-aus"]
    assert "amm_opt_completion" in python("-c", code, _AMM_OPT_COMPLETE="bash_source")
