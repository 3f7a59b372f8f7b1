"""Options in a text: values by annotation, and everything that is wrong at once."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from amm_opt.errors import InputError, Problems
from amm_opt.specs import read_options, read_value

KINDS = {"rho": float, "steps": int, "on": bool, "window": int | str, "limit": float | None, "way": Literal["up", 2]}


def read(text: str) -> dict[str, Any]:
    said = Problems()
    options = read_options(text, KINDS, "thing", said)
    said.report()
    return options


def test_values_by_annotation() -> None:
    assert read("") == {}
    assert read("rho=0.5, steps=-3,on=True") == {"rho": 0.5, "steps": -3, "on": True}
    assert read("window=1D,limit=none,way=2") == {"window": "1D", "limit": None, "way": 2}
    assert read("window=12,limit=1e3,on=0") == {"window": 12, "limit": 1000.0, "on": False}
    assert read_value(object, "anything") == "anything"


def test_everything_that_is_wrong_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read("rho=much,steps=1.5,steps=2,speed=3,on=maybe,limit=x")
    assert caught.value.problems == (
        "thing: rho = 'much' is not a number",
        "thing: steps = '1.5' is not a whole number",
        "thing: steps is given twice",
        "unknown parameter of thing 'speed'; valid choices: limit, on, rho, steps, way, window",
        "thing: on = 'maybe' is not True or False",
        "thing: limit = 'x' is not a number or None",
    )
