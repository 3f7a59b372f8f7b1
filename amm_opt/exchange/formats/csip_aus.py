"""CSIP-AUS 1.3 (SA TS 5573) on IEEE 2030.5: the controls of every site, and its default, as XML.

Documents are models of the package ``envoy-schema`` (2.7). The limits are ``opModImpLimW`` and ``opModExpLimW``, of net
power at the connection point. An ``ActivePower`` of IEEE 2030.5 is a whole number of 16 bits times a power of ten, so
that limits above 32,767 W are rounded down to four or five digits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from amm_opt.errors import InputError
from amm_opt.exchange.envelopes import Envelopes
from amm_opt.fields import is_whole, shortened
from amm_opt.io.files import folder_names, replace_bytes, replace_file, whole_folder

LARGEST_VALUE = 32_767
"""Of a signed whole number of 16 bits."""
SCHEDULED, ACTIVE = 0, 1
DESCRIPTION_LENGTH = 32
UNIQUE_DIGITS = 24
"""Hexadecimal digits of an mRID before the 8 of the provider's private enterprise number."""
INDEX = "index.csv"


def write(
    envelopes: Envelopes,
    folder: Path,
    *,
    pen: int,
    created: datetime | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write ``SITE.controls.xml`` (a DERControlList) and ``SITE.default.xml`` for every site, and ``index.csv``.

    Args:
        folder: a new or empty one.
        pen: IANA private enterprise number of who sends them, the last 32 bits of every mRID.
        created: when the controls were made; by default now.
        progress: called with (sites done, all).

    Raises:
        InputError: where the number has not 32 bits, or the folder is not empty.
    """
    from envoy_schema.server.schema.sep2.der import DefaultDERControl, DERControlListResponse

    if not is_whole(pen) or not 0 <= pen < 2**32:
        raise InputError(f"pen = {shortened(pen)} must be a whole number from 0 to {2**32 - 1}")
    now_s = int((created or datetime.now(UTC)).timestamp())
    names, rows = folder_names(envelopes.sites), []
    with whole_folder(folder):
        for k, site in enumerate(envelopes.sites):
            controls = [_control(envelopes, k, step, pen, now_s) for step in range(len(envelopes.start))]
            listed = DERControlListResponse(all_=len(controls), results=len(controls), DERControl=controls)
            default = DefaultDERControl(
                mRID=_mrid(envelopes, site, "default", pen),
                description=site[:DESCRIPTION_LENGTH],
                DERControlBase_=_limits(*envelopes.default_w[:, k]),
            )
            files = {"controls": listed, "default": default}
            for what, model in files.items():
                replace_bytes(folder / f"{names[site]}.{what}.xml", _xml(model))
            rows.append({"site": site, **{what: f"{names[site]}.{what}.xml" for what in files}})
            if progress is not None:
                progress(k + 1, len(envelopes.sites))
        table = pd.DataFrame(rows).assign(calculation_id=envelopes.calculation_id)
        replace_file(folder / INDEX, table.to_csv(index=False))


def _control(envelopes: Envelopes, k: int, step: int, pen: int, now_s: int) -> Any:
    """One DERControl: a site in an interval."""
    from envoy_schema.server.schema.sep2.der import DERControlResponse
    from envoy_schema.server.schema.sep2.event import EventStatus
    from envoy_schema.server.schema.sep2.types import DateTimeIntervalType

    site, start_s = envelopes.sites[k], envelopes.start_s[step]
    status = SCHEDULED if start_s > now_s else ACTIVE
    return DERControlResponse(
        mRID=_mrid(envelopes, site, str(start_s), pen),
        description=site[:DESCRIPTION_LENGTH],
        creationTime=now_s,
        EventStatus_=EventStatus(currentStatus=status, dateTime=now_s, potentiallySuperseded=False),
        interval=DateTimeIntervalType(duration=envelopes.duration_s, start=start_s),
        DERControlBase_=_limits(*envelopes.limit_w[:, step, k]),
    )


def _limits(import_w: int, export_w: int) -> Any:
    from envoy_schema.server.schema.sep2.der import DERControlBase

    return DERControlBase(opModImpLimW=_active_power(import_w), opModExpLimW=_active_power(export_w))


def _active_power(watts: int) -> Any:
    """``value`` times ten to the power of ``multiplier``, at most ``watts``."""
    from envoy_schema.server.schema.sep2.der_control_types import ActivePower

    value, multiplier = int(watts), 0
    while value > LARGEST_VALUE:
        value, multiplier = value // 10, multiplier + 1
    return ActivePower(value=value, multiplier=multiplier)


def _mrid(envelopes: Envelopes, site: str, what: str, pen: int) -> str:
    """128 bits as hexadecimal digits: 96 of what it names, 32 of the provider."""
    text = "\0".join((envelopes.calculation_id, site, what))
    return f"{hashlib.sha256(text.encode()).hexdigest()[:UNIQUE_DIGITS]}{pen:08x}".upper()


def _xml(model: Any) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + bytes(model.to_xml(skip_empty=True, exclude_none=True))
