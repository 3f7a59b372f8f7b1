"""The commands ``amm-opt cases``, ``mechanisms`` and ``solvers``: what there is."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import click

from amm_opt.cases import load_case, shipped_cases
from amm_opt.cases.folder.variants import variants
from amm_opt.market import Mechanism
from amm_opt.registry import mechanisms as known_mechanisms
from amm_opt.registry import parameters_of
from amm_opt.solve.backends.known import solvers as known_solvers
from amm_opt.study.show import json_option, show
from amm_opt.study.terminal import say


@click.command()
@json_option
def cases(as_json: bool) -> None:
    """List the cases that come with the toolkit.

    \b
    Example:  amm-opt cases
    """
    rows = []
    for name, folder in shipped_cases().items():
        case = load_case(name)
        choices = "; ".join(f"{choice}={'|'.join(values)}" for choice, values in variants(folder).items())
        rows.append(
            {
                "case": name,
                "title": case.title,
                "buses": case.feeder.n_buses,
                "lv_feeders": len(case.feeder.lv_feeders),
                "participants": case.n_participants,
                "intervals": case.n_steps,
                "licence": case.licence,
                "variants": choices,
            }
        )
    show(rows, as_json, "Cases", {"licence": 1, "lv_feeders": 2, "variants": 1})
    if not as_json:
        say("A variant: mv33lv:seed=2. Also: the path of a case folder, or synthetic:buses=500,days=7,seed=1")


@click.command()
@json_option
def mechanisms(as_json: bool) -> None:
    """List the mechanisms and their parameters.

    \b
    Example:  amm-opt mechanisms
    """
    rows = []
    for name, kind in known_mechanisms().items():
        given = parameters_of(kind)
        defaults = {k: None if d is MISSING else d for k, (_, d) in given.items()}
        settings = {k: str(d) if isinstance(d, Mechanism) else d for k, d in defaults.items()}
        about = (kind.__doc__ or "").strip().splitlines()
        text: Any = settings if as_json else ", ".join(f"{k}={v}" for k, v in settings.items())
        rows.append({"mechanism": name, "about": about[0] if about else "", "parameters": text})
    show(rows, as_json, "Mechanisms")


@click.command()
@json_option
def solvers(as_json: bool) -> None:
    """List solvers, what they can do, and which are installed.

    \b
    Example:  amm-opt solvers
    """
    rows = [
        {
            "solver": name.lower(),
            **{f.name: getattr(info, f.name) for f in fields(info) if f.name != "name"},
            "install": "" if info.installed else info.how_to_install,
        }
        for name, info in sorted(known_solvers().items(), key=lambda item: (not item[1].installed, item[0]))
    ]
    show(rows, as_json, "Solvers", {"exp": 1, "install": 2, "threads": 3, "in_place": 4, "hot_start": 5, "duals": 6})
