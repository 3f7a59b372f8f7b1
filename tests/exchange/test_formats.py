"""What is written holds against published schemas, and comes back through readers of our own."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from small import one_transformer

import amm_opt as ao
from amm_opt.study.cli import main
from tests.exchange import readers

NOW = datetime(2030, 1, 6, 14, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def run() -> ao.Run:
    """Two houses and a works whose limits take more than 16 bits."""
    case = one_transformer(
        60.0,
        [[0.5, 1.0, 45.678], [0.6, 1.1, 32.768]],
        [[3.3, 9.0, 0.0], [0.0, 9.0, 0.0]],
        [[0.0, 0.0, 0.0], [4.0, 0, 0]],
    )
    return ao.simulate(replace(case, timezone="Etc/GMT-10"), "amm")


@pytest.fixture(scope="module")
def found(run: ao.Run) -> ao.Envelopes:
    return ao.envelopes(run, default_import_w=1500, default_export_w=1500)


def expected(found: ao.Envelopes) -> readers.Limits:
    return {
        (site, start.to_pydatetime()): (float(found.limit_w[0, t, k]), float(found.limit_w[1, t, k]))
        for t, start in enumerate(found.start)
        for k, site in enumerate(found.sites)
    }


def test_csv_comes_back(found: ao.Envelopes, tmp_path: Path) -> None:
    ao.export_envelopes(found, tmp_path / "day.csv")
    assert readers.read_csv(tmp_path / "day.csv") == expected(found)


def test_envoy_takes_it(found: ao.Envelopes, tmp_path: Path) -> None:
    from envoy_schema.admin.schema.log import CalculationLogRequest
    from envoy_schema.admin.schema.site_control import (
        SiteControlGroupDefaultRequest,
        SiteControlGroupRequest,
        SiteControlRequest,
    )
    from envoy_schema.admin.schema.site_group import SiteGroupRequest

    path = tmp_path / "envoy.json"
    ao.export_envelopes(found, path, "envoy")
    assert readers.read_envoy(path) == expected(found)
    document = json.loads(path.read_text())
    for control in document["controls"]:
        read = SiteControlRequest.model_validate(control, extra="forbid")
        assert read.start_time.utcoffset() is not None
        assert read.duration_seconds == 1800
        assert read.generation_limit_watts is None
    log = CalculationLogRequest.model_validate(document["calculation_log"], extra="forbid")
    assert (log.external_id, log.calculation_range_duration_seconds) == (found.calculation_id, 3600)
    default = SiteControlGroupDefaultRequest.model_validate(document["site_control_group_default"], extra="forbid")
    assert default.import_limit_watts is not None
    assert default.import_limit_watts.value == 1500
    group = SiteControlGroupRequest.model_validate(document["site_control_group"], extra="forbid")
    assert len(group.description) <= 32
    assert [SiteGroupRequest.model_validate(g, extra="forbid").name for g in document["site_groups"]] == [*found.sites]
    ao.export_envelopes(found, path, "envoy", group_ids={site: 7 + k for k, site in enumerate(found.sites)})
    assert {c["site_group_id"] for c in json.loads(path.read_text())["controls"]} == {7, 8, 9}


def test_csip_aus_takes_it(found: ao.Envelopes, tmp_path: Path) -> None:
    from envoy_schema.server.schema.sep2.der import DefaultDERControl, DERControlListResponse

    ao.export_envelopes(found, tmp_path / "csip", "csip-aus", pen=37250, created=NOW)
    back, given = readers.read_csip(tmp_path / "csip"), expected(found)
    assert back.keys() == given.keys()
    for key, limits in back.items():
        assert np.all(np.array(limits) <= given[key])  # rounded down, to four digits at least
        np.testing.assert_allclose(limits, given[key], rtol=1e-3)
    works = [back[key][0] for key in sorted(back) if key[0] == "p2"]
    assert works == [45670.0, 32760.0]
    seen = set()
    for site in found.sites:
        text = (tmp_path / "csip" / f"{site}.controls.xml").read_bytes()
        listed = DERControlListResponse.from_xml(text)
        assert listed.all_ == listed.results == len(listed.DERControl or ()) == 2
        for control in listed.DERControl or ():
            assert len(control.mRID) == 32
            assert control.mRID.endswith("00009182")
            seen.add(control.mRID)
            assert control.creationTime == int(NOW.timestamp())
        assert [c.EventStatus_.currentStatus for c in listed.DERControl or ()] == [1, 0]
        default = DefaultDERControl.from_xml((tmp_path / "csip" / f"{site}.default.xml").read_bytes())
        seen.add(default.mRID)
        limit = default.DERControlBase_.opModExpLimW
        assert limit is not None
        assert (limit.value, limit.multiplier) == (1500, 0)
    assert len(seen) == 9


def test_an_openadr_client_takes_it(found: ao.Envelopes, tmp_path: Path) -> None:
    from openadr3.entities.models import Event, Program
    from openadr3.entities.raw import RawEvent, RawProgram

    path = tmp_path / "openadr.json"
    missing = np.array(found.price_per_kwh)
    missing[:, 1] = np.nan
    some = replace(found, price_per_kwh=missing)
    ao.export_envelopes(some, path, "openadr3", currency="AUD")
    assert readers.read_openadr(path) == expected(found)
    document = json.loads(path.read_text())
    RawProgram.model_validate(document["program"], extra="forbid")
    assert Program.from_raw(document["program"]).program_name.endswith(found.calculation_id)
    events = [
        Event.from_raw(RawEvent.model_validate(e, extra="forbid").model_dump(by_alias=True)) for e in document["events"]
    ]
    assert [e.targets for e in events] == [[site] for site in found.sites for _ in range(2)]
    for event in events[::2]:
        periods = [i.interval_period for i in event.resolved_intervals()]
        assert [p and p.start for p in periods] == list(found.start.to_pydatetime())
        assert {(d.payload_type, d.units, getattr(d, "currency", None)) for d in event.payload_descriptors or ()} == {
            ("IMPORT_CAPACITY_LIMIT", "KW", None),
            ("EXPORT_CAPACITY_LIMIT", "KW", None),
            ("PRICE", "KWH", "AUD"),
            ("EXPORT_PRICE", "KWH", "AUD"),
        }
        assert len((event.intervals or [])[0].payloads) == 4
        assert len((event.intervals or [])[1].payloads) == 2  # without a price none is sent
    for event in events[1::2]:
        assert event.priority == 100
        assert [p.values for p in (event.intervals or [])[0].payloads] == [[1.5], [1.5]]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="openadr3-client needs Python 3.12")
def test_another_openadr_client_takes_it(found: ao.Envelopes, tmp_path: Path) -> None:
    from openadr3_client.oadr310.models.event.event import NewEvent

    ao.export_envelopes(found, tmp_path / "openadr.json", "openadr3", currency="AUD")
    for event in json.loads((tmp_path / "openadr.json").read_text())["events"]:
        read = NewEvent.model_validate(event)
        assert read.interval_period is not None
        assert read.interval_period.start == found.start[0]


def test_what_a_format_cannot_say_is_refused(run: ao.Run, found: ao.Envelopes, tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match="unknown format 'xml'; valid choices: csip-aus, csv, envoy, openadr3"):
        ao.export_envelopes(found, tmp_path / "x", "xml")
    with pytest.raises(ao.InputError, match=r"pen is of csip-aus, not of csv"):
        ao.export_envelopes(found, tmp_path / "x", pen=1)
    with pytest.raises(ao.InputError, match="one default limit for all sites"):
        ao.export_envelopes(ao.envelopes(run), tmp_path / "x", "envoy")
    with pytest.raises(ao.InputError, match="no site_group_id is given for p1, p2"):
        ao.export_envelopes(found, tmp_path / "x", "envoy", group_ids={"p0": 1})
    with pytest.raises(ao.InputError, match="no ISO 4217 code"):
        ao.export_envelopes(found, tmp_path / "x", "openadr3", currency="euros")
    with pytest.raises(ao.InputError, match=r"pen = 4294967296"):
        ao.export_envelopes(found, tmp_path / "x", "csip-aus", pen=2**32)
    assert not (tmp_path / "x").exists()
    with pytest.raises(ao.InputError, match=r"default_import_w = 1e\+30 must be a number of watts"):
        ao.envelopes(run, default_import_w=1e30)
    with pytest.raises(ao.InputError, match="targets of OpenADR have 128 characters at most") as caught:
        ao.export_envelopes(replace(found, sites=("x" * 129, "p1", "p2")), tmp_path / "x", "openadr3")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("form", ["csv", "envoy", "openadr3"])
def test_a_place_that_is_no_file_is_said_before_the_work(found: ao.Envelopes, tmp_path: Path, form: str) -> None:
    with pytest.raises(ao.InputError, match="is a folder: give a file in it"):
        ao.export_envelopes(found, tmp_path, form)
    with pytest.raises(ao.InputError, match="there is no folder"):
        ao.export_envelopes(found, tmp_path / "none" / "day", form)
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_said_before_limits_are_worked_out(
    run: ao.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(tmp_path / "run")
    monkeypatch.setattr("amm_opt.study.commands.outputs.exporting.envelopes", None)
    for words, sentence in {
        ("csip-aus", "--out", str(tmp_path)): "exists and is not an empty folder",
        ("csip-aus", "--out", str(tmp_path / "new"), "--pen", str(2**32)): "pen = 4294967296 must be",
        ("openadr3", "--out", str(tmp_path / "new"), "--currency", "euros"): "no ISO 4217 code",
        ("csv", "--out", str(tmp_path / "new"), "--pen", "1"): "pen is of csip-aus, not of csv",
    }.items():
        said = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "--format", *words])
        assert said.exit_code == 2
        assert sentence in said.output
    assert [item.name for item in tmp_path.iterdir()] == ["run"]


def test_names_that_xml_has_other_uses_for(found: ao.Envelopes, tmp_path: Path) -> None:
    from envoy_schema.server.schema.sep2.der import DefaultDERControl

    odd = replace(found, sites=("a<b>&{c}", "b\x01", "c"))
    ao.export_envelopes(odd, tmp_path / "csip", "csip-aus")
    assert readers.read_csip(tmp_path / "csip").keys() == expected(odd).keys()
    texts = [path.read_bytes() for path in sorted((tmp_path / "csip").glob("*.default.xml"))]
    assert {DefaultDERControl.from_xml(text).description for text in texts} == {"a<b>&{c}", "b\\x01", "c"}


def test_the_command_line_writes_every_format(run: ao.Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    read = {
        "csv": readers.read_csv,
        "envoy": readers.read_envoy,
        "csip-aus": readers.read_csip,
        "openadr3": readers.read_openadr,
    }
    default = ["--default-import", "1500", "--default-export", "1500"]
    later = ["--start", "2030-01-07 00:30"]
    for form, reader in read.items():
        out = tmp_path / f"out-{form}"
        said = CliRunner().invoke(
            main, ["export", str(tmp_path / "run"), "--format", form, "--out", str(out), *default, *later]
        )
        assert said.exit_code == 0, said.output
        assert "3 sites, 1 interval of 1800 s from 2030-01-06T14:30:00Z (UTC)" in said.output
        assert (
            "Basis of limits: allocation in 1 interval\nClaim of the run: point, holds at the requested" in said.output
        )
        assert len(reader(out)) == 3
    sites = tmp_path / "sites.csv"
    sites.write_text("site,site_group_id\np0,4\np1,5\np2,x\n")
    words = ["export", str(tmp_path / "run"), "--format", "envoy", "--out", str(tmp_path / "e"), "--sites", str(sites)]
    said = CliRunner().invoke(main, [*words, *default])
    assert said.exit_code == 2
    assert "site_group_id = 'x' must be a whole number" in said.output
