"""CSIP-AUS 1.3 (SA TS 5573) on IEEE 2030.5: the controls of every site, and its default, as XML.

Documents are models of the package ``envoy-schema`` (2.7). It writes one of each kind, and this is filled in for every
site and interval. The limits are ``opModImpLimW`` and ``opModExpLimW``, of net power at the connection point. An
``ActivePower`` of IEEE 2030.5 is a whole number of 16 bits times a power of ten, so that limits above 32,767 W are
rounded down to four or five digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd

from amm_opt.arrays import IntArray
from amm_opt.errors import InputError, OutputError
from amm_opt.exchange.envelopes import Envelopes
from amm_opt.fields import is_whole, shortened
from amm_opt.io.files import folder_names, replace_file, whole_folder
from amm_opt.io.text import plain

LARGEST_VALUE = 32_767
"""Of a signed whole number of 16 bits."""
SCHEDULED, ACTIVE = 0, 1
DESCRIPTION_LENGTH = 32
UNIQUE_DIGITS = 24
"""Hexadecimal digits of an mRID before the 8 of the provider's private enterprise number."""
INDEX = "index.csv"
ABOUT = ("mRID", "description")
WHEN = ("currentStatus", "start")
LIMITS = {"opModImpLimW": "import", "opModExpLimW": "export"}
LIMIT_FIELDS = tuple(f"{direction}_{part}" for part in ("multiplier", "value") for direction in LIMITS.values())
CONTROL = re.compile(r"<DERControl [^>]*>.*</DERControl>", re.DOTALL)


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
        InputError: where the folder is not empty.
        OutputError: where ``envoy-schema`` writes other documents than are known here.
    """
    now_s = int((created or datetime.now(UTC)).timestamp())
    names, rows = folder_names(envelopes.sites), []
    status = [SCHEDULED if start_s > now_s else ACTIVE for start_s in envelopes.start_s]
    listed, control, default = _forms(len(status), envelopes.duration_s, now_s)
    powers, defaults = _active_power(envelopes.limit_w), _active_power(envelopes.default_w)
    with whole_folder(folder):
        for k, site in enumerate(envelopes.sites):
            about = escape(plain(site)[:DESCRIPTION_LENGTH])
            controls = "".join(
                control.format(mRID=_mrid(envelopes, site, str(start_s), pen), description=about, start=start_s,
                               currentStatus=now, **dict(zip(LIMIT_FIELDS, limit, strict=True)))
                for start_s, now, limit in zip(envelopes.start_s, status, powers[:, :, k].T.tolist(), strict=True)
            )  # fmt: skip
            limit = dict(zip(LIMIT_FIELDS, defaults[:, k].tolist(), strict=True))
            own = default.format(mRID=_mrid(envelopes, site, "default", pen), description=about, **limit)
            files = {"controls": listed.format(controls=controls), "default": own}
            for what, text in files.items():
                replace_file(folder / f"{names[site]}.{what}.xml", text)
            rows.append({"site": site, **{what: f"{names[site]}.{what}.xml" for what in files}})
            if progress is not None:
                progress(k + 1, len(envelopes.sites))
        table = pd.DataFrame(rows).assign(calculation_id=envelopes.calculation_id)
        replace_file(folder / INDEX, table.to_csv(index=False))


def check_pen(pen: int) -> None:
    """Raise InputError where a private enterprise number has not 32 bits."""
    if not is_whole(pen) or not 0 <= pen < 2**32:
        raise InputError(f"pen = {shortened(pen)} must be a whole number from 0 to {2**32 - 1}")


def _forms(count: int, duration_s: int, now_s: int) -> tuple[str, str, str]:
    """A list of so many controls, a control of it, and a default, with fields in braces for what differs by site.

    Raises:
        OutputError: where what ``envoy-schema`` writes has not one of every field.
    """
    from envoy_schema.server.schema.sep2.der import (
        DefaultDERControl,
        DERControlBase,
        DERControlListResponse,
        DERControlResponse,
    )
    from envoy_schema.server.schema.sep2.der_control_types import ActivePower
    from envoy_schema.server.schema.sep2.event import EventStatus
    from envoy_schema.server.schema.sep2.types import DateTimeIntervalType

    none = ActivePower(value=0, multiplier=0)
    limits = DERControlBase(opModImpLimW=none, opModExpLimW=none)
    one = DERControlResponse(
        mRID="0" * 32,
        description="site",
        creationTime=now_s,
        EventStatus_=EventStatus(currentStatus=SCHEDULED, dateTime=now_s, potentiallySuperseded=False),
        interval=DateTimeIntervalType(duration=duration_s, start=now_s),
        DERControlBase_=limits,
    )
    several = _xml(DERControlListResponse(all_=count, results=count, DERControl=[one]))
    control = _form("".join(CONTROL.findall(several)), (*ABOUT, *WHEN))
    default = _form(_xml(DefaultDERControl(mRID="0" * 32, description="site", DERControlBase_=limits)), ABOUT)
    return CONTROL.sub("{controls}", several), control, default


def _form(xml: str, fields: Iterable[str]) -> str:
    """A document with these elements, and the two numbers of each limit, as fields."""
    counts = []
    for name in fields:
        xml, count = re.subn(rf"<{name}>[^<]*<", f"<{name}>{{{name}}}<", xml)
        counts.append(count)
    for element, direction in LIMITS.items():
        for part in ("multiplier", "value"):
            place = rf"(<csipaus:{element}>(?:(?!</csipaus:{element}>).)*<{part}>)[^<]*<"
            xml, count = re.subn(place, rf"\1{{{direction}_{part}}}<", xml)
            counts.append(count)
    if set(counts) != {1}:
        raise OutputError("envoy-schema writes documents of another form than amm-opt knows; use release 2.7")
    return xml


def _active_power(watts: IntArray) -> IntArray:
    """Multipliers and values, each of import and export: ``value`` times ten to the power of ``multiplier``.

    Args:
        watts: (2, ...) limits.

    Returns:
        (4, ...) in the order of ``LIMIT_FIELDS``; at most the watts, no more than ``LARGEST_VALUE`` each.
    """
    value, multiplier = watts.copy(), np.zeros_like(watts)
    while (beyond := value > LARGEST_VALUE).any():
        value[beyond] //= 10
        multiplier[beyond] += 1
    return np.concatenate([multiplier, value])


def _mrid(envelopes: Envelopes, site: str, what: str, pen: int) -> str:
    """128 bits as hexadecimal digits: 96 of what it names, 32 of the provider."""
    text = "\0".join((envelopes.calculation_id, site, what))
    return f"{hashlib.sha256(text.encode()).hexdigest()[:UNIQUE_DIGITS]}{pen:08x}".upper()


def _xml(model: Any) -> str:
    text = bytes(model.to_xml(skip_empty=True, exclude_none=True)).decode()
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
