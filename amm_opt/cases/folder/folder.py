"""Cases as folders of tables: reading, writing, and building from tables in memory."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.cases.folder.parts import checked_parts
from amm_opt.cases.folder.report import as_report, report_lines
from amm_opt.cases.folder.variants import chosen_variants, only_once, settings_of
from amm_opt.cases.scenario import Scenario
from amm_opt.cases.synthetic import synthetic_from_spec
from amm_opt.errors import InputError, Problems, as_path, unknown
from amm_opt.fields import shortened
from amm_opt.io.files import whole_folder
from amm_opt.io.tables import read_table
from amm_opt.network import Layers, LayerTable

TOML = "case.toml"
REQUIRED_TABLES = ("buses", "branches", "participants", "profiles", "series")
OPTIONAL_TABLES = ("sessions", "offers")
_TEXTS = ("name", "bus", "from_bus", "to_bus", "feeder", "participant", "phases", "profile", "technology")
_TOML_KEYS = (
    "name",
    "title",
    "licence",
    "attribution",
    "step_minutes",
    "steps",
    "timezone",
    "meshed",
    "scenario",
    "layers",
    "report",
)


def _shipped_root() -> Path:
    packaged = Path(__file__).parents[2] / "data"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "data"


def shipped_cases() -> dict[str, Path]:
    """Names and folders of the cases that come with the toolkit."""
    return {p.parent.name: p.parent for p in sorted(_shipped_root().glob("*/case.toml"))}


def load_case(case: str | Path) -> Case:
    """Load a case by name, from a folder, or as ``synthetic:buses=500,seed=1``; variants as ``mv33lv:seed=2``.

    A folder holds ``case.toml`` and the tables ``buses, branches, participants, profiles, series`` and, where there
    are charging sessions or offers in steps, ``sessions`` and ``offers``, each as ``.csv``, ``.csv.gz`` or
    ``.parquet``; docs/case-folder.md describes their columns.

    Raises:
        InputError: unknown case, or every problem found in the folder.
    """
    folder, text = as_path(case, "case"), str(case)
    if text.partition(":")[0] == "synthetic" and not folder.is_dir():
        return replace(from_tables(**synthetic_from_spec(text.partition(":")[2])), source=text)
    name, options = text, ""
    if not folder.is_dir() and "=" in text.rpartition(":")[2]:
        name, _, options = text.rpartition(":")
        folder = as_path(name, "case")
    source = str(folder.resolve())
    if not folder.is_dir():
        shipped = shipped_cases()
        if name not in shipped:
            raise unknown("case", name, [*shipped, "synthetic:buses=...", "the path of a case folder"])
        folder, source = shipped[name], name
    return _loaded(folder, source, chosen_variants(folder, options, name))


def _loaded(folder: Path, source: str, chosen: dict[str, Path]) -> Case:
    """The case of a folder, with the settings and tables of the chosen variants in place of its own."""
    said = Problems()
    settings = said.of(partial(_read_settings, folder)) or {}
    with_settings = {variant: place for variant, place in chosen.items() if (place / TOML).is_file()}
    changed = {variant: said.of(partial(_read_settings, place)) or {} for variant, place in with_settings.items()}
    place_of = dict.fromkeys((*REQUIRED_TABLES, *OPTIONAL_TABLES), folder)
    tables_of = {v: [name for name in place_of if _table_paths(place, name)] for v, place in chosen.items()}
    said.of(lambda: only_once({variant: [*changed.get(variant, {}), *tables_of[variant]] for variant in chosen}))
    place_of |= {name: chosen[variant] for variant, names in tables_of.items() for name in names}
    settings |= settings_of(changed)
    present = [name for name, place in place_of.items() if name in REQUIRED_TABLES or _table_paths(place, name)]
    tables = {name: said.of(partial(_read_table, place_of[name], name)) for name in present}
    report = said.of(partial(as_report, settings.pop("report"), str(folder / TOML))) if "report" in settings else None
    said.report()
    ending = f":{','.join(chosen)}" if chosen else ""
    name = settings.get("name", folder.resolve().name)
    given: dict[str, Any] = {**tables, **settings, "name": name + ending if isinstance(name, str) else name}
    try:
        return replace(from_tables(**given), source=source + ending, report=report)
    except InputError as error:
        raise InputError(error.problems, subject=error.subject or str(folder)) from None


def as_case(case: Case | str | Path) -> Case:
    """A case, loaded where a name or folder is given."""
    return case if isinstance(case, Case) else load_case(case)


def _read_settings(folder: Path) -> dict[str, Any]:
    """What ``case.toml`` holds, its scenario as such."""
    path = folder / TOML
    if not path.is_file():
        raise InputError(f"{path} not found: a case folder needs a {TOML}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    if unknown_keys := [key for key in settings if key not in _TOML_KEYS]:
        valid = ", ".join(_TOML_KEYS)
        raise InputError([f"{path}: unknown key {key!r}; valid keys: {valid}" for key in unknown_keys])
    return {**settings, "scenario": _scenario(settings["scenario"], path)} if "scenario" in settings else settings


def _scenario(settings: Any, path: Path) -> Scenario:
    known = Scenario.__dataclass_fields__
    if not isinstance(settings, dict):
        raise InputError(f"{path}: scenario must be a table")
    for key in settings:
        if key not in known:
            raise InputError(f"{path}: unknown scenario key {key!r}; valid keys: {', '.join(known)}")
    return Scenario(**settings)


def _table_paths(folder: Path, name: str) -> list[Path]:
    return [p for suffix in (".parquet", ".csv", ".csv.gz") if (p := folder / f"{name}{suffix}").is_file()]


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    found = _table_paths(folder, name)
    if len(found) > 1:
        raise InputError(f"{folder}: table {name!r} stands twice: {', '.join(p.name for p in found)}")
    if not found:
        raise InputError(f"{folder}: table {name!r} not found ({name}.parquet, {name}.csv or {name}.csv.gz)")
    return read_table(found[0], "table", texts=_TEXTS)


def from_tables(
    *,
    name: str,
    buses: pd.DataFrame,
    branches: pd.DataFrame,
    participants: pd.DataFrame,
    profiles: pd.DataFrame,
    series: pd.DataFrame,
    sessions: pd.DataFrame | None = None,
    offers: pd.DataFrame | None = None,
    scenario: Scenario | None = None,
    step_minutes: float | None = None,
    steps: int | None = None,
    timezone: str | None = None,
    meshed: bool = False,
    layers: LayerTable | None = None,
    title: str = "",
    licence: str = "",
    attribution: str = "",
) -> Case:
    """Build a case from tables in memory (columns as in the case folder, docs/case-folder.md).

    A named index of a table stands for the column of its name; a DatetimeIndex of profiles is their ``time``.

    Args:
        profiles: a ``time`` column and one numeric column per profile; regular, in the case's standard time.
        offers: steps in which plants offer; each becomes a participant of its own.
        step_minutes, steps, timezone: what the profiles must agree with, where given.
        meshed: whether closed branches may form cycles; see docs/network.md.
        layers: nested areas between a bus and the system, see docs/prices-layers.md; derived ones where None.

    Raises:
        InputError: every problem of the feeder, or every problem of the other tables, at once.
    """
    texts = {"name": name, "title": title, "licence": licence, "attribution": attribution}
    tables: dict[str, object] = {
        "buses": buses,
        "branches": branches,
        "participants": participants,
        "profiles": profiles,
        "series": series,
    }
    tables |= {name: table for name, table in (("sessions", sessions), ("offers", offers)) if table is not None}
    expected: dict[str, Any] = {"step_minutes": step_minutes, "steps": steps, "timezone": timezone}
    parts = checked_parts(tables, scenario, texts, **expected, meshed=meshed)
    if layers is not None and not isinstance(layers, Mapping):
        raise InputError(f"layers = {shortened(layers)} must be a table", subject=f"case {name}")
    own = {} if layers is None else dict(layers)
    if own:
        Layers.of(parts.feeder, own)
    return Case(
        name,
        parts.feeder,
        parts.participants,
        parts.profiles,
        scenario or Scenario(),
        title,
        licence,
        attribution,
        timezone or "",
        own_layers=own,
    )


def save_case(case: Case, folder: str | Path) -> Path:
    """Write a case as a folder that :func:`load_case` reads back.

    Raises:
        InputError: where the folder exists and is not empty, or cannot be written.
        OutputError: where it takes nothing any more; nothing is left behind then.
    """
    path = as_path(folder, "folder")
    if not isinstance(case, Case):
        raise InputError(f"{shortened(case)} is not a case")
    with whole_folder(path):
        _write_case(case, path)
    return path


def _write_case(case: Case, path: Path) -> None:
    for name, table in case.tables().items():
        if name == "sessions" and table.empty:
            continue
        if name in ("profiles", "sessions"):
            with (path / f"{name}.parquet").open("wb") as file:
                table.to_parquet(file, index=False)
        else:
            table.to_csv(path / f"{name}.csv", index=False)
    lines = [
        f"{key} = {json.dumps(getattr(case, key), ensure_ascii=False)}"
        for key in ("name", "title", "licence", "attribution", "timezone")
        if getattr(case, key)
    ]
    lines += [
        f"step_minutes = {(case.times[1] - case.times[0]) / pd.Timedelta(minutes=1)!r}",
        f"steps = {case.n_steps}",
        *(["meshed = true"] if case.feeder.tables.meshed else []),
        "",
        "[scenario]",
    ]
    scenario = asdict(case.scenario)
    limits = scenario.pop("limits")
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in scenario.items()]
    for name, own in limits.items():
        lines.append(f"\n[scenario.limits.{json.dumps(name, ensure_ascii=False)}]")
        lines += [f"{key} = {value!r}" for key, value in own.items()]
    lines += [*_layer_lines(case.own_layers), *report_lines(case.report)]
    (path / "case.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _layer_lines(layers: LayerTable) -> list[str]:
    """The table ``layers`` of ``case.toml``; each layer is one line, so that their order stays."""

    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = ["\n[layers]"] if layers else []
    for name, content in layers.items():
        areas = content if isinstance(content, str) else {area: list(buses) for area, buses in content.items()}
        inline = ", ".join(f"{text(a)} = {text(b)}" for a, b in areas.items()) if isinstance(areas, dict) else ""
        lines.append(f"{text(name)} = {f'{{ {inline} }}' if inline else text(areas)}")
    return lines
