"""A queue of ours behind a `multiprocessing.managers` server, as the standard library's documentation shows it with `queue.Queue`."""

from __future__ import annotations

import queue
import threading
from multiprocessing.managers import BaseManager
from typing import Any

import pytest
from dropin import KINDS

import sluicegate

pytestmark = pytest.mark.thread_unsafe(reason="the server is one")


class Manager(BaseManager):
    """Serves queues made by `make`."""


served: list[Any] = []
#: A proxy that is collected tells the server so, on whatever thread runs the collection: on the server's own that would wait for itself.
proxies: list[Any] = []


def make(kind: str, maxsize: int) -> Any:
    served.append(getattr(sluicegate, kind)(maxsize))
    return served[-1]


Manager.register("make", callable=make)


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of a server that runs in this process, as long as it."""
    server = Manager(("127.0.0.1", 0), b"secret").get_server()
    server.stop_event = threading.Event()
    threading.Thread(target=server.accepter, daemon=True).start()
    client = Manager(server.address, b"secret")
    client.connect()
    return client


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, client: Any) -> tuple[Any, Any]:
    """A queue, and the proxy of it that a client has."""
    proxy = client.make(request.param, 3)
    proxies.append(proxy)
    return served[-1], proxy


def test_a_queue_by_proxy(both: tuple[Any, Any]) -> None:
    q, proxy = both
    proxy.put("from afar")
    assert q.get(timeout=30) == "from afar"
    q.put("from here")
    assert (proxy.qsize(), proxy.empty(), proxy.full()) == (1, False, False)
    assert proxy.get(timeout=30) == "from here"
    proxy.task_done()
    proxy.task_done()
    proxy.join()


def test_refusals_by_proxy(both: tuple[Any, Any]) -> None:
    q, proxy = both
    with pytest.raises(queue.Empty):
        proxy.get_nowait()
    with pytest.raises(sluicegate.Empty):
        proxy.get(timeout=0.001)
    for n in range(3):
        proxy.put_nowait(n)
    with pytest.raises(queue.Full):
        proxy.put(4, block=False)
    assert q.qsize() == 3
    q.shutdown(immediate=True)
    with pytest.raises(sluicegate.ShutDown):
        proxy.get()
