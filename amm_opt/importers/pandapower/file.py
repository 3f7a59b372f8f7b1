"""pandapower's JSON files as a mapping of tables, without making any object that a file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from amm_opt.errors import InputError, as_path


def read_net(path: str | Path) -> dict[str, Any]:
    """The tables and values of a net that ``pandapower.to_json`` wrote.

    Raises:
        InputError: where the file cannot be read or is no such net.
    """
    path = as_path(path, "file")
    try:
        net = _plain(json.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON file of pandapower (pandapower.to_json): {error}") from error
    if not isinstance(net, dict) or not isinstance(net.get("bus"), pd.DataFrame):
        raise InputError(f"{path} is no JSON file of pandapower (pandapower.to_json): it has no table of buses")
    return net


def _plain(value: Any) -> Any:
    """A stored value; tables are texts of JSON inside an entry that names their class."""
    if not isinstance(value, dict):
        return value
    if value.get("_class") == "DataFrame" and isinstance(value.get("_object"), str):
        stored = json.loads(value["_object"])
        try:
            return pd.DataFrame(stored["data"], index=stored["index"], columns=stored["columns"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a table that is not by columns, index and data: {error}") from error
    inside = value.get("_object") if "_class" in value else value
    return {key: _plain(item) for key, item in inside.items()} if isinstance(inside, dict) else inside
