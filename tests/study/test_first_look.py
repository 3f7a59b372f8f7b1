"""The busiest day before a long comparison: which one, where it is printed, and whether somebody is asked."""

from __future__ import annotations

import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from small import one_transformer

import amm_opt as ao
from amm_opt.study import first_look
from amm_opt.study.cli import main

CASE = "synthetic:buses=40,days=3,seed=1"


def test_the_busiest_whole_day_is_chosen() -> None:
    """Days of 48 intervals from midnight; the last has most, and is whole only if all of it is in the span."""
    asked = np.repeat([1.0, 3.0, 2.0, 9.0], 48)[:, None]
    nothing = np.zeros_like(asked)
    case = one_transformer(100.0, nothing, asked, nothing)
    assert first_look.busiest_day(case, (0, 192)) == (144, 192)
    assert first_look.busiest_day(case, (0, 191)) == (48, 96)
    assert first_look.busiest_day(case, (1, 97)) is None
    assert first_look.busiest_day(case, (49, 192)) == (144, 192)
    exports = one_transformer(100.0, nothing, nothing, asked)
    assert first_look.busiest_day(exports, (0, 144)) == (48, 96)


def test_the_day_goes_to_standard_error_and_all_of_it_follows() -> None:
    words = ["compare", CASE, "--mechanisms", "no_control,pro_rata", "--workers", "1"]
    plain, said = (CliRunner().invoke(main, [*words, *more]) for more in ([], ["--day-first"]))
    assert said.exit_code == plain.exit_code == 0, said.output
    assert "First the day on which most is asked for, 2030-01-" in said.stderr
    assert "48 intervals" in said.stderr
    assert "Now all 144 intervals" in said.stderr
    title = said.stdout.splitlines()[0]
    assert title == plain.stdout.splitlines()[0]
    assert "144 intervals" in title
    assert said.stdout.count("pro_rata") == plain.stdout.count("pro_rata")
    short = CliRunner().invoke(main, [*words, "--steps", "48", "--day-first"])
    assert "First the day" not in short.output
    machine = CliRunner().invoke(main, [*words, "--day-first", "--json"])
    assert machine.stdout.startswith("{")
    assert "First the day" not in machine.stderr


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_is_asked(answer: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []
    monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text) or answer)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    case = ao.load_case(CASE)
    options = {"workers": 1, "network": "lindistflow"}
    assert first_look.look(case, [ao.registry.mechanism("pro_rata")], (0, 144), "lindistflow", options) is answer
    (question,) = asked
    assert question.startswith("Go on with all 144 intervals, at this pace 1 minute at most")
    assert capsys.readouterr().out == ""
