"""Limits and prices of a run, written in one of the formats of ``FORMATS``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amm_opt.errors import OutputError, Problems, as_path, reason, unknown
from amm_opt.exchange.envelopes import Envelopes
from amm_opt.exchange.formats import csip_aus, envoy, openadr3
from amm_opt.io.files import check_file, claimed, released, replace_file

CSV, ENVOY, CSIP_AUS, OPENADR3 = FORMATS = ("csv", "envoy", "csip-aus", "openadr3")
OWN = {"group_ids": ENVOY, "pen": CSIP_AUS, "created": CSIP_AUS, "currency": OPENADR3}
"""Arguments that one format alone has."""
MODELS = (ENVOY, CSIP_AUS)
"""Formats whose documents are models of the package ``envoy-schema``."""


def export_envelopes(
    envelopes: Envelopes,
    path: str | Path,
    format: str = CSV,
    *,
    group_ids: Mapping[str, int] | None = None,
    pen: int | None = None,
    created: datetime | None = None,
    currency: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write limits and prices for the systems that send them to sites (docs/envelopes-out.md).

    Args:
        path: the file to write, or for ``csip-aus`` a new or empty folder.
        format: ``csv``, ``envoy`` (JSON), ``csip-aus`` (XML) or ``openadr3`` (JSON).
        group_ids: of ``envoy``, the server's ``site_group_id`` of every site; by default 1, 2, ... in order.
        pen: of ``csip-aus``, the sender's IANA private enterprise number; by default 0, nobody's.
        created: of ``csip-aus``, when the controls were made; by default now.
        currency: of ``openadr3``, the ISO 4217 code of prices; by default none is written.
        progress: called with (sites done, all).

    Raises:
        InputError: for an unknown format, an argument that it does not have, a package that is not installed, or what
            the format cannot say, or a path that is a folder or whose folder is not there.
        OutputError: where nothing can be written.
    """
    check_export(path, format, group_ids=group_ids, pen=pen, created=created, currency=currency)
    place = as_path(path, "file or folder")
    if format == CSIP_AUS:
        csip_aus.write(envelopes, place, pen=pen or 0, created=created, progress=progress)
        return
    if format == CSV:
        text = envelopes.table.to_csv(index=False)
    elif format == ENVOY:
        text = _json(envoy.document(envelopes, group_ids=group_ids, progress=progress))
    else:
        text = _json(openadr3.document(envelopes, currency=currency, progress=progress))
    try:
        replace_file(place, text)
    except OSError as error:
        raise OutputError(f"{place} could not be written: {reason(error)}") from error


def check_export(path: str | Path, format: str, **given: Any) -> None:
    """See before limits are worked out whether they can be written; nothing is.

    Args:
        path, format, given: as of ``export_envelopes``.

    Raises:
        InputError: as there, apart from what depends on the limits.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    said, place = Problems(), as_path(path, "file or folder")
    for name, value in given.items():
        if value is not None and OWN[name] != format:
            said.say(f"{name} is of {OWN[name]}, not of {format}")
    if format in MODELS and find_spec("envoy_schema") is None:
        said.say(f"{format} needs envoy-schema: pip install 'amm-opt[export]'")
    if format == CSIP_AUS:
        said.of(lambda: csip_aus.check_pen(given.get("pen") or 0))
        said.of(lambda: released(claimed(place)))
    else:
        said.of(lambda: check_file(place))
    if format == OPENADR3:
        said.of(lambda: openadr3.check_currency(given.get("currency")))
    said.report()


def _json(document: object) -> str:
    return json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n"
