"""`multiprocessing.dummy` over our queues: processes that are threads, and pipes made of two queues that are polled."""

from __future__ import annotations

import multiprocessing.dummy
import multiprocessing.dummy.connection
from typing import Any

import pytest
from helpers import wait_until

import sluicegate

pytestmark = pytest.mark.thread_unsafe(reason="swaps a module's name")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """multiprocessing.dummy.connection, which makes its pipes of `Queue`s."""
    monkeypatch.setattr(multiprocessing.dummy.connection, "Queue", sluicegate.Queue)
    return multiprocessing.dummy.connection


def test_a_pipe(connection: Any) -> None:
    one, other = connection.Pipe()
    assert type(one._in) is sluicegate.Queue
    one.send("there")
    assert other.recv() == "there"
    other.send("back")
    assert one.recv() == "back"


def test_poll(connection: Any, threads: Any) -> None:
    one, other = connection.Pipe()
    assert one.poll() is False
    assert one.poll(0.01) is False
    polling = threads(one.poll, 30.0)
    wait_until(lambda: one._in.statistics().waiting_getters == 1)
    other.send("item")
    assert polling.result() is True
    assert one.poll() is True
    assert one.recv() == "item"
    assert one.poll() is False


def test_polling_takes_nothing_from_those_who_receive(connection: Any, threads: Any) -> None:
    one, other = connection.Pipe()
    polling = [threads(one.poll, 30.0) for _ in range(3)]
    receiving = threads(one.recv)
    wait_until(lambda: one._in.statistics().waiting_getters == 4)
    other.send("item")
    assert receiving.result() == "item"
    for _ in polling:
        other.send("another")
    for worker in polling:
        worker.result()  # whatever it says: it may have been woken by the item that was received
    assert [one.recv() for _ in polling] == ["another"] * 3


def test_a_listener_and_its_clients(connection: Any, threads: Any) -> None:
    with connection.Listener(backlog=2) as listener:
        assert type(listener._backlog_queue) is sluicegate.Queue

        def serve() -> list[Any]:
            got = []
            for _ in range(2):
                with listener.accept() as server:
                    got.append(server.recv())
                    server.send(got[-1] * 2)
            return got

        serving = threads(serve)
        for n in (1, 2):
            with connection.Client(listener.address) as client:
                client.send(n)
                assert client.recv() == n * 2
        assert serving.result() == [1, 2]


@pytest.mark.parametrize("cls", [sluicegate.Queue, sluicegate.LifoQueue])
def test_workers_with_task_done(cls: Any) -> None:
    # The examples of multiprocessing's documentation, with threads for processes.
    tasks, results = cls(), cls()

    def work() -> None:
        for function, argument in iter(tasks.get, None):
            results.put(function(argument))
            tasks.task_done()
        tasks.task_done()

    for n in range(20):
        tasks.put((abs, -n))
    workers = [multiprocessing.dummy.Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    tasks.join()
    for _ in workers:
        tasks.put(None)
    tasks.join()
    for worker in workers:
        worker.join()
    assert sorted(results.get() for _ in range(20)) == list(range(20))
