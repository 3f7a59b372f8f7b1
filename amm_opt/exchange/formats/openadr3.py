"""OpenADR 3.1: a program, and events with the limits and prices of every site.

One event for a site, whose intervals follow each other without a gap, each with the payloads IMPORT_CAPACITY_LIMIT and
EXPORT_CAPACITY_LIMIT in KW and, where there are prices, PRICE and EXPORT_PRICE per KWH. One more of lower priority
holds the default limits from the first interval on. OpenADR 3.1.1 (OpenADR Alliance), Definition and User Guide 7.1 and
7.3: lower numbers go first where events overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from amm_opt.errors import InputError
from amm_opt.exchange.envelopes import Envelopes
from amm_opt.fields import shortened

LIMITS = ("IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT")
PRICES = ("PRICE", "EXPORT_PRICE")
PRIORITY, DEFAULT_PRIORITY = 1, 100
LONG = "P100Y"
"""How long defaults hold. The specification's word for ever, P9999Y, leads beyond the last year that clients know."""
TARGET_LENGTH = 128


def document(
    envelopes: Envelopes, *, currency: str | None, progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """The program and its events, as bodies of ``POST /programs`` and ``POST /events``.

    Args:
        currency: ISO 4217 code of prices.
        progress: called with (sites done, all).

    Raises:
        InputError: for a name that is longer than a target may be.
    """
    for site in envelopes.sites:
        if len(site) > TARGET_LENGTH:
            raise InputError(
                f"participant {shortened(site)}: targets of OpenADR have {TARGET_LENGTH} characters at most"
            )
    descriptors = [_descriptor(name, "KW") for name in LIMITS]
    if envelopes.price_per_kwh is not None:
        descriptors += [_descriptor(name, "KWH", currency) for name in PRICES]
    events = []
    for k, site in enumerate(envelopes.sites):
        events += _events(envelopes, k, site, descriptors)
        if progress is not None:
            progress(k + 1, len(envelopes.sites))
    return {
        "program": {
            "objectType": "PROGRAM",
            "programName": f"amm-opt {envelopes.calculation_id}",
            "payloadDescriptors": descriptors,
        },
        "events": events,
    }


def check_currency(currency: str | None) -> None:
    """Raise InputError where a currency is given that is no code."""
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise InputError(f"currency = {currency!r} is no ISO 4217 code such as AUD")


def _events(envelopes: Envelopes, k: int, site: str, descriptors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The limits and prices of a site, then its default limits."""
    limits = envelopes.limit_w[:, :, k].T / 1000.0
    prices = None if envelopes.price_per_kwh is None else envelopes.price_per_kwh[:, :, k].T
    intervals = []
    for step, row in enumerate(limits):
        payloads = [_payload(name, kw) for name, kw in zip(LIMITS, row, strict=True)]
        if prices is not None:
            payloads += [_payload(n, p) for n, p in zip(PRICES, prices[step], strict=True) if not np.isnan(p)]
        intervals.append({"id": step, "payloads": payloads})
    default = [_payload(name, kw) for name, kw in zip(LIMITS, envelopes.default_w[:, k] / 1000.0, strict=True)]
    start, name = envelopes.start_text[0], f"{site} {envelopes.start_text[0]}"
    shared = {"objectType": "EVENT", "programID": envelopes.calculation_id, "targets": [site]}
    return [
        {
            **shared,
            "eventName": name,
            "priority": PRIORITY,
            "payloadDescriptors": descriptors,
            "intervalPeriod": {"start": start, "duration": f"PT{envelopes.duration_s}S"},
            "intervals": intervals,
        },
        {
            **shared,
            "eventName": f"{name} default",
            "priority": DEFAULT_PRIORITY,
            "payloadDescriptors": descriptors[: len(LIMITS)],
            "intervalPeriod": {"start": start, "duration": LONG},
            "intervals": [{"id": 0, "payloads": default}],
        },
    ]


def _payload(name: str, value: float) -> dict[str, Any]:
    return {"type": name, "values": [float(value)]}


def _descriptor(name: str, units: str, currency: str | None = None) -> dict[str, Any]:
    given = {} if currency is None else {"currency": currency}
    return {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": name, "units": units, **given}
