"""envoy, an open utility server (Battery Storage and Grid Integration Program, ANU): what its admin API takes.

The bodies are models of the package ``envoy-schema`` (2.7). A control limits the net power of the sites of one group;
here every site is a group of its own. envoy keeps one default for a group of controls, so that all sites have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from amm_opt.errors import InputError, shorten
from amm_opt.exchange.envelopes import Envelopes

DESCRIPTION_LENGTH = 32


def document(
    envelopes: Envelopes, *, group_ids: Mapping[str, int] | None, progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """The bodies of requests, by what they are.

    ``calculation_log``, ``site_groups`` (one for each site), ``site_control_group``, ``site_control_group_default`` and
    ``controls``, all intervals of the first site first.

    Args:
        group_ids: the server's ``site_group_id`` of each site; by default its place in ``site_groups``, from 1.
        progress: called with (sites done, all).

    Raises:
        InputError: where sites have different defaults, or one has no group.
    """
    from envoy_schema.admin.schema.site_control import SiteControlGroupRequest
    from envoy_schema.admin.schema.site_group import SiteGroupRequest

    defaults = {tuple(map(int, pair)) for pair in envelopes.default_w.T}
    if len(defaults) > 1:
        raise InputError("envoy keeps one default limit for all sites: give default_import_w and default_export_w")
    if group_ids is None:
        group_ids = {site: k + 1 for k, site in enumerate(envelopes.sites)}
    if missing := [site for site in envelopes.sites if site not in group_ids]:
        raise InputError(f"no site_group_id is given for {shorten(missing)}")
    name = f"amm-opt {envelopes.calculation_id}"[:DESCRIPTION_LENGTH]
    groups = [SiteGroupRequest(name=site, default_group=False) for site in envelopes.sites]
    controls = []
    for k, site in enumerate(envelopes.sites):
        controls += _controls(envelopes, k, group_ids[site])
        if progress is not None:
            progress(k + 1, len(envelopes.sites))
    return {
        "calculation_log": _log(envelopes),
        "site_groups": [group.model_dump(mode="json") for group in groups],
        "site_control_group": SiteControlGroupRequest(description=name, primacy=0).model_dump(mode="json"),
        "site_control_group_default": _default(*defaults.pop()),
        "controls": controls,
    }


def _log(envelopes: Envelopes) -> Any:
    """What was calculated, without what it was calculated from."""
    from envoy_schema.admin.schema.log import CalculationLogRequest

    log = CalculationLogRequest(
        calculation_range_start=envelopes.start[0],
        calculation_range_duration_seconds=envelopes.duration_s * len(envelopes.start),
        interval_width_seconds=envelopes.duration_s,
        external_id=envelopes.calculation_id,
        description=envelopes.title,
        variable_metadata=[],
        variable_values=None,
        label_metadata=[],
        label_values=None,
    )
    return log.model_dump(mode="json")


def _default(import_w: int, export_w: int) -> Any:
    """What all sites keep without a control; what is None is left as it is."""
    from envoy_schema.admin.schema.site_control import SiteControlGroupDefaultRequest, UpdateDefaultValue

    default = SiteControlGroupDefaultRequest(
        import_limit_watts=UpdateDefaultValue(value=Decimal(import_w)),
        export_limit_watts=UpdateDefaultValue(value=Decimal(export_w)),
        generation_limit_watts=None,
        load_limit_watts=None,
        ramp_rate_percent_per_second=None,
        storage_target_watts=None,
    )
    return default.model_dump(mode="json")


def _controls(envelopes: Envelopes, k: int, group_id: int) -> list[Any]:
    """The controls of a site, interval by interval."""
    from envoy_schema.admin.schema.site_control import SiteControlRequest

    limits = zip(envelopes.start.to_pydatetime(), *envelopes.limit_w[:, :, k].tolist(), strict=True)
    controls = (
        SiteControlRequest(
            site_group_id=group_id,
            calculation_log_id=None,
            duration_seconds=envelopes.duration_s,
            start_time=start,
            import_limit_watts=Decimal(import_w),
            export_limit_watts=Decimal(export_w),
        )
        for start, import_w, export_w in limits
    )
    return [control.model_dump(mode="json") for control in controls]
