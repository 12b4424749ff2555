"""A queue of ours behind a `multiprocessing.managers` server, as the standard library's documentation shows it with `queue.Queue`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from multiprocessing.managers import BaseManager
from typing import Any

import pytest
from dropin import KINDS

import penstock

pytestmark = pytest.mark.thread_unsafe(reason="the server is one")


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """A queue, and the proxy of it that a client has."""
    q = getattr(penstock, request.param)(3)

    class Manager(BaseManager):
        pass

    Manager.register("get_queue", callable=lambda: q)
    server = Manager(("127.0.0.1", 0), b"secret").get_server()
    thread = threading.Thread(target=server.accepter, daemon=True)  # serve_forever() ends by sys.exit()
    server.stop_event = threading.Event()
    thread.start()
    client = Manager(server.address, b"secret")
    client.connect()
    yield q, client.get_queue()
    server.stop_event.set()
    server.listener.close()


def test_a_queue_by_proxy(served: tuple[Any, Any]) -> None:
    q, proxy = served
    proxy.put("from afar")
    assert q.get(timeout=30) == "from afar"
    q.put("from here")
    assert (proxy.qsize(), proxy.empty(), proxy.full()) == (1, False, False)
    assert proxy.get(timeout=30) == "from here"
    proxy.task_done()
    proxy.task_done()
    proxy.join()


def test_refusals_by_proxy(served: tuple[Any, Any]) -> None:
    q, proxy = served
    with pytest.raises(queue.Empty):
        proxy.get_nowait()
    with pytest.raises(penstock.Empty):
        proxy.get(timeout=0.001)
    for n in range(3):
        proxy.put_nowait(n)
    with pytest.raises(queue.Full):
        proxy.put(4, block=False)
    assert q.qsize() == 3
    q.shutdown(immediate=True)
    with pytest.raises(penstock.ShutDown):
        proxy.get()
