"""Statements of MATPOWER cases: values as in MATLAB, and what cannot be followed is refused by line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.importers.matpower.text import evaluated


def value(expression: str, before: str = "") -> Any:
    data = evaluated(f"a = [1 2]; b = [3 4]; m = [1 2; 3 4];{before}\nx = {expression};").data["x"]
    return data.tolist() if isinstance(data, np.ndarray) else data


@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("-2^2", [[-4.0]]),
        ("2^-1", [[0.5]]),
        ("2^3^2", [[64.0]]),
        ("[1 -2]", [[1.0, -2.0]]),
        ("[1 - 2]", [[-1.0]]),
        ("[1, 2; 3 4]'", [[1.0, 3.0], [2.0, 4.0]]),
        ("[a' b']", [[1.0, 3.0], [2.0, 4.0]]),
        ("[a (1)]", [[1.0, 2.0, 1.0]]),
        ("[a(1) -a(2)]", [[1.0, -2.0]]),
        ("[1 2 ... a comment, not data: 7\n 3]", [[1.0, 2.0, 3.0]]),
        ("[1 2 % ; 9 9\n # 8 8\n 3 4]", [[1.0, 2.0], [3.0, 4.0]]),
        ("m * b'", [[11.0], [25.0]]),
        ("m .* m", [[1.0, 4.0], [9.0, 16.0]]),
        ("5.*a", [[5.0, 10.0]]),
        ("2.^a", [[2.0, 4.0]]),
        ("1d3 + .5", [[1000.5]]),
        ("5:-2:1", [[5.0, 3.0, 1.0]]),
        ("m(end, 1) + a(end)", [[5.0]]),
        ("m(:)'", [[1.0, 3.0, 2.0, 4.0]]),
        ("m(m(:, 1) > 1, :)", [[3.0, 4.0]]),
        ("m(2)", [[3.0]]),
        ("m(:, [BUS_TYPE BUS_I])", [[2.0, 1.0], [4.0, 3.0]]),
        ("sum(m(:, 2)) / max(m(:))", [[1.5]]),
        ("'it''s % no comment'", "it's % no comment"),
        ("~[0 1]", [[True, False]]),
    ],
)
def test_expressions(expression: str, right: Any) -> None:
    assert value(expression) == right


def test_assignments() -> None:
    text = """
    [PQ, PV, REF, NONE, KIND] = idx_bus;
    m = [1 2; 3 4];  m(:, KIND) = m(:, KIND) * 10;   m(3, :) = [7 8];
    m(m(:, 2) > 7, 1) = 0;
    %{
    m = 0;
    %{
    m = -1;
    %}
    %}
    s.names = {'a', '%b'; 'c' 'd'};
    m(2, :) = [];
    s.m = m;  % the last assignment counts
    """
    data = evaluated(text).data
    assert data["KIND"].tolist() == [[1.0]]
    assert data["m"].tolist() == [[10.0, 2.0], [0.0, 8.0]]
    assert data["s"]["names"] == ["a", "%b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mpc.a = 1;\nmpc.b = foo(2);", "line 2: cannot be followed: mpc.b = foo(2) (foo is not known)"),
        ("mpc.a = [1 2\n3 x\n5 6];", "line 2: cannot be followed: 3 x (x is not known)"),
        ("for k = 1:3\nmpc.a = k;\nend", "line 1: 'for' cannot be followed: for k = 1:3"),
        ("if true, mpc.a = 1; end", "'if' cannot be followed"),
        ("mpc = loadcase('case33bw');", "loadcase is not known"),
        ("mpc.a = [1 2; 3];", "row 2 has 1 numbers, row 1 has 2"),
        ("mpc.a = [1 2;", "line 1: ] is missing: mpc.a = [1 2;"),
        ("%{\nmpc.a = 1;", "line 1: the block comment has no end"),
        ("mpc.a = ones(1e6, 1e6);", "a matrix of 1e+06 x 1e+06 is too large"),
        ("mpc.a = 1:1e12;", "is too large"),
        ("mpc.a = " + "(" * 500 + "1" + ")" * 500, "brackets stand more than 40 deep"),
        ("mpc.a = sqrt(-1);", "the result is no real number"),
        ("mpc.a = [1 2](3);", "'(' is not expected"),
        ("mpc.a = 1; mpc.a(0) = 2;", "[0.0] is no position"),
        ("mpc.a(:, [1 2]) = [1 2; 3 4] * [1 2 3];", "do not fit"),
        ("mpc.a += 1;", "not followed"),
        ("addpath('x');", "it assigns nothing"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_line(text: str, said: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        evaluated(text)
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_one_refused_statement_is_one_problem() -> None:
    with pytest.raises(ao.InputError) as caught:
        evaluated("k = f(1);\nmpc.a = k * 2;\nmpc.b = mpc.a(1);\nmpc.c = g;")
    assert [p.split(":")[0] for p in caught.value.problems] == ["line 1", "line 4"]
