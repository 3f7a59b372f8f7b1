"""Variants by dask.distributed: a cluster of this machine, one that runs at an address, or a client of one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from amm_opt.errors import InputError, LostError, one_line
from amm_opt.studies.executors.schedule import ATTEMPTS, LOST, Queue
from amm_opt.studies.variant import Plan, Row, Variant, Workplace

CONNECT_S = 10


def workplace_of(plan: bytes) -> Workplace:
    """What a worker of dask keeps between variants: the result of a task, which dask makes again where it is lost."""
    return _Remote(pickle.loads(plan))


def row_of(workplace: Workplace, variant: Variant) -> Row:
    """A task of dask's."""
    return workplace.row(variant)


class _Remote(Workplace):
    """A workplace that starts with nothing where dask sends it to another worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Remote, (self.plan,)


class Distributed:
    """Runs variants by dask.

    Args:
        where: a ``distributed.Client``, a cluster, the address of a scheduler, or a number of processes to start here.
    """

    def __init__(self, where: Any) -> None:
        self._where = where

    def rows(self, plan: Plan, variants: list[Variant]) -> Iterator[Row]:
        """See ``Executor``.

        Raises:
            InputError: where dask is not installed, or there is no cluster.
            LostError: where it was there, and is no more.
        """
        if find_spec("distributed") is None:
            raise InputError("dask is not installed: pip install 'amm-opt[study]'")
        with ExitStack() as stack:
            client = self._client(stack)
            try:
                client.wait_for_workers(1, timeout=CONNECT_S)
            except (OSError, TimeoutError) as error:
                raise InputError(f"the dask cluster at {client.scheduler_info()['address']} has no worker") from error
            try:
                yield from _rows(client, plan, variants)
            except Exception as error:
                if client.status == "running":
                    raise
                raise LostError(f"the dask cluster is not there any more ({one_line(error)})") from error

    def _client(self, stack: ExitStack) -> Any:
        import dask
        from distributed import Client, LocalCluster

        if isinstance(self._where, Client):
            return self._where
        cluster = self._where
        if isinstance(cluster, int):
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = LocalCluster(
                n_workers=cluster, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            )
            stack.enter_context(cluster)
        try:
            return stack.enter_context(Client(cluster, timeout=CONNECT_S))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"there is no dask scheduler at {cluster!r}: {one_line(error)}") from error


class _Cluster:
    """The workers of a cluster, each at one variant at a time: what is lost with one of them is that variant."""

    def __init__(self, client: Any, plan: Plan) -> None:
        self._client = client
        self.workplace = client.submit(workplace_of, pickle.dumps(plan), pure=False)
        self.at: dict[Any, tuple[str, Variant]] = {}

    def workers(self) -> list[str]:
        """Addresses of those that are there now."""
        return list(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, address: str, variant: Variant) -> Any:
        """Begin a variant, on this worker as long as it is there."""
        task = self._client.submit(
            row_of, self.workplace, variant, pure=False, workers=[address], allow_other_workers=True
        )
        self.at[task] = (address, variant)
        return task

    def instead_of(self, address: str) -> str:
        """A worker itself, or where it is no more, one that has nothing to do."""
        there, busy = self.workers(), {at for at, _ in self.at.values()}
        return address if address in there else next((at for at in there if at not in busy), address)


def _rows(client: Any, plan: Plan, variants: list[Variant]) -> Iterator[Row]:
    from distributed import KilledWorker, as_completed

    cluster, queue = _Cluster(client, plan), Queue(variants)
    lost = dict.fromkeys((variant.number for variant in variants), 0)
    try:
        begun = [(at, variant) for at in cluster.workers() if (variant := queue.next(at)) is not None]
        tasks = as_completed([cluster.submit(*pair) for pair in begun])
        for task in tasks:
            address, variant = cluster.at.pop(task)
            address = cluster.instead_of(address)
            error = None if task.status == "finished" else task.exception()
            if isinstance(error, KilledWorker):
                lost[variant.number] += 1
                if lost[variant.number] < ATTEMPTS:
                    tasks.add(cluster.submit(address, variant))
                    continue
                row = Row(variant.number, variant.parameters, reason=LOST.format(count=ATTEMPTS), attempts=ATTEMPTS)
            elif error is not None:
                row = Row(variant.number, variant.parameters, reason=one_line(error, 2000))
            else:
                row = replace(task.result(), attempts=1 + lost[variant.number])
            if (following := queue.next(address)) is not None:
                tasks.add(cluster.submit(address, following))
            yield row
    finally:
        with suppress(Exception):  # a cluster that is gone has nothing to cancel
            client.cancel([cluster.workplace, *cluster.at])
