"""Own small readers of what is exported, on the standard library alone: {(site, UTC start): (import W, export W)}."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Limits = dict[tuple[str, datetime], tuple[float, float]]
SEP, CSIP = "{urn:ieee:std:2030.5:ns}", "{https://csipaus.org/ns/v1.3}"


def read_csv(path: Path) -> Limits:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["site"], datetime.fromisoformat(row["start_utc"])): (
                float(row["import_limit_w"]),
                float(row["export_limit_w"]),
            )
            for row in csv.DictReader(file)
        }


def read_envoy(path: Path) -> Limits:
    document = json.loads(path.read_text(encoding="utf-8"))
    names = {k: group["name"] for k, group in enumerate(document["site_groups"], start=1)}
    return {
        (names[item["site_group_id"]], datetime.fromisoformat(item["start_time"])): (
            float(item["import_limit_watts"]),
            float(item["export_limit_watts"]),
        )
        for item in document["controls"]
    }


def active_power(control: ElementTree.Element, name: str) -> float:
    """Watts of an ActivePower: value x 10^multiplier."""
    found = control.find(f"{SEP}DERControlBase/{CSIP}{name}")
    assert found is not None
    value, multiplier = (int(found.findtext(f"{SEP}{part}", "")) for part in ("value", "multiplier"))
    assert -(2**15) <= value < 2**15
    return float(value * 10**multiplier)


def both(control: ElementTree.Element) -> tuple[float, float]:
    return active_power(control, "opModImpLimW"), active_power(control, "opModExpLimW")


def read_csip(folder: Path) -> Limits:
    limits: Limits = {}
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for control in ElementTree.parse(folder / row["controls"]).getroot().iter(f"{SEP}DERControl"):
                start = int(control.findtext(f"{SEP}interval/{SEP}start", ""))
                limits[row["site"], datetime.fromtimestamp(start, UTC)] = both(control)
    return limits


def read_openadr(path: Path) -> Limits:
    limits: Limits = {}
    for event in json.loads(path.read_text(encoding="utf-8"))["events"]:
        if event["priority"] != 1:
            continue
        (site,), period = event["targets"], event["intervalPeriod"]
        start, length = datetime.fromisoformat(period["start"]), seconds(period["duration"])
        for interval in event["intervals"]:
            kw = payloads(interval)
            limits[site, start + interval["id"] * length] = (
                round(1000 * kw["IMPORT_CAPACITY_LIMIT"], 6),
                round(1000 * kw["EXPORT_CAPACITY_LIMIT"], 6),
            )
    return limits


def seconds(text: str) -> timedelta:
    assert text.startswith("PT")
    assert text.endswith("S")
    return timedelta(seconds=int(text[2:-1]))


def payloads(interval: dict[str, Any]) -> dict[str, float]:
    return {item["type"]: item["values"][0] for item in interval["payloads"]}
