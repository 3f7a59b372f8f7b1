"""Who runs the variants makes no difference, and a process that is lost loses one of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from deadly import Deadly

import amm_opt as ao
from amm_opt.studies.executors.schedule import Queue
from amm_opt.studies.variant import Variant

CASE = "synthetic:buses=70,days=1,seed=3"


def test_processes_give_the_same_table() -> None:
    parameters = {"mechanism.rho": [0.1, 0.4], "scenario.import_scale": [1.0, 1.5]}
    study = ao.Study(CASE, "amm", parameters=parameters, steps=12)
    here = study.run().outcomes
    there = study.run(executor="processes", workers=2).outcomes
    pd.testing.assert_frame_equal(there, here, check_exact=True)


def test_a_lost_process_loses_one_variant_which_is_begun_once_more(tmp_path: Path) -> None:
    """Variant 1 kills its process once and variant 2 twice; the others never notice."""
    study = ao.Study(CASE, Deadly(mark=str(tmp_path)), parameters={"mechanism.kills": [0, 1, 2]}, steps=2)
    result = study.run(tmp_path / "out", executor="processes", workers=2)
    table = result.table
    assert list(table["attempts"]) == [1, 2, 2]
    assert list(result.failed.index) == [2]
    assert "its process was lost 2 times" in result.failed[2]
    assert (table.loc[[0, 1], "steps"] == 2).all()
    (tmp_path / "2-2").touch()
    again = study.run(tmp_path / "out", executor="processes", workers=2, resume=True)
    assert len(again.failed) == 0


def test_dask_gives_the_same_table_and_loses_one_variant(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    parameters = {"mechanism.rho": [0.1, 0.4], "scenario.import_scale": [1.0, 1.5]}
    study = ao.Study(CASE, "amm", parameters=parameters, steps=12)
    deadly = ao.Study(CASE, Deadly(mark=str(tmp_path)), parameters={"mechanism.kills": [0, 1]}, steps=2)
    here = study.run().outcomes
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        pd.testing.assert_frame_equal(study.run(executor=client).outcomes, here, check_exact=True)
        by_address = study.run(executor=cluster.scheduler_address).outcomes
        pd.testing.assert_frame_equal(by_address, here, check_exact=True)
        result = deadly.run(executor=client)
    assert len(result.failed) == 0


def test_what_cannot_run_the_variants_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amm_opt.studies.executors.distributed.CONNECT_S", 1)
    study = ao.Study(CASE, "no_control", steps=2)
    for wrong, sentence in (("cluster", "unknown executor 'cluster'"), ("tcp://127.0.0.1:9", "no dask scheduler at")):
        with pytest.raises(ao.InputError, match=sentence):
            study.run(executor=wrong)
    with pytest.raises(ao.InputError, match="workers = 0 must be a whole number"):
        study.run(executor="processes", workers=0)
    column = ao.Column("own", lambda run: 1.0)
    with pytest.raises(ao.InputError, match="cannot be sent to other processes"):
        ao.Study(CASE, "no_control", steps=2, columns=[column]).run(executor="processes")
    assert ao.Study(CASE, "no_control", steps=2, columns=[column]).run().table["own"].tolist() == [1.0]


def test_a_worker_keeps_to_its_case() -> None:
    variants = [Variant(k, {"case": "abc"[k % 3], "mechanism.rho": k}) for k in range(9)]
    queue = Queue(variants)
    taken: dict[str, list[object]] = {"one": [], "two": []}
    for k in range(9):
        worker = ("one", "two")[k % 2]
        variant = queue.next(worker)
        assert variant is not None
        taken[worker].append(variant.parameters["case"])
    assert queue.next("one") is None
    assert taken["one"][:3] == ["a", "a", "a"]
    assert taken["two"][:3] == ["b", "b", "b"]


def test_a_dask_cluster_that_is_gone_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    study = ao.Study(CASE, "no_control", parameters={"scenario.import_scale": [1.0, 1.5, 2.0]}, steps=2)
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50)

    def close(done: int, *_: object) -> None:
        if done == 1:
            cluster.close()

    sentence = r"dask cluster is not there any more .*; \d variants? (is|are) kept in .*resume=True"
    with pytest.raises(ao.AmmOptError, match=sentence):
        study.run(tmp_path / "out", executor=cluster.scheduler_address, progress=close)
    assert len(study.run(tmp_path / "out", resume=True).table) == 3
    monkeypatch.setattr("amm_opt.studies.executors.distributed.CONNECT_S", 1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as empty,
        pytest.raises(ao.InputError, match="has no worker"),
    ):
        study.run(executor=empty.scheduler_address)
