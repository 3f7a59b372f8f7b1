"""Who uses up what all share: Shapley values of the presence of LV feeders, or of participants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.errors import InputError, unknown
from amm_opt.market.shapley.network_game import NetworkGame
from amm_opt.market.shapley.values import shapley
from amm_opt.network import NetworkModel
from amm_opt.network.default import default_model

By = Literal["feeder", "participant"]


def hosting(
    case: Case,
    interval: int,
    by: By = "feeder",
    *,
    direction: str = "import",
    network: NetworkModel | None = None,
    rounds: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """What the network hosts of everybody's requests in one interval, and who brings about what it cannot.

    A player's value is what the network serves because the player is there, less what others lose by it, averaged over
    the orders in which players could come: the Shapley value of the most that is served. What it asks for less its
    value is the shortage that it brings about; over all players that is the whole shortage. (Ours.)

    Args:
        case: a distribution case.
        interval: its number.
        by: players are LV ``feeder`` s that ask for something, or each ``participant`` that does. Everybody else, such
            as customers of the upper tier where players are feeders, is always there.
        direction: of what is asked for, ``"import"`` or ``"export"``.
        network: a network model on the case's feeder; None: the one that the case is run on by default.
        rounds, seed, confidence, workers, progress: as for ``shapley``; above 12 players values are sampled.

    Returns:
        A row per player, largest shortage first: ``asked_kw``, ``value_kw`` with ``low_kw`` and ``high_kw``, and
        ``shortage_kw``.

    Raises:
        InputError: as ``NetworkGame`` and ``shapley``; where nobody asks for anything.
    """
    for what, given, valid in (("by", by, ("feeder", "participant")), ("direction", direction, DIRECTIONS)):
        if given not in valid:
            raise unknown(what, given, valid)
    model = default_model(case.feeder)(case.feeder) if network is None else network
    asked = case.requests(interval, interval + 1).request_kw(direction)[0]
    names = case.participant_names
    players: dict[str, list[str]] = {}
    for i in np.flatnonzero(asked).tolist():
        home = int(case.lv_feeder[i])
        if by == "participant":
            players[names[i]] = [names[i]]
        elif home >= 0:
            players.setdefault(case.feeder.lv_feeders[home], []).append(names[i])
    if not players:
        raise InputError(f"nobody asks for {direction} in interval {interval} of {case.name}", subject="hosting")
    game = NetworkGame(case, interval, players, network=model, direction=direction, counts=direction, source=True)
    found = shapley(
        game, game.players, rounds=rounds, seed=seed, confidence=confidence, workers=workers, progress=progress
    )
    place = {name: i for i, name in enumerate(names)}
    wanted = np.array([asked[[place[name] for name in who]].sum() for who in players.values()])
    table = pd.DataFrame(
        {
            "asked_kw": wanted,
            "value_kw": found.value,
            "low_kw": found.low,
            "high_kw": found.high,
            "shortage_kw": wanted - found.value,
        },
        index=pd.Index(game.players, name=by),
    )
    return table.sort_values("shortage_kw", ascending=False, kind="stable")
