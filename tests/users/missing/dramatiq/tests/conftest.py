"""The fixtures of dramatiq's tests for a broker in memory; its source distribution comes without them."""

from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from .common import worker


@pytest.fixture
def stub_broker() -> StubBroker:
    """The broker in memory that actors are declared with."""
    broker = StubBroker()
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def stub_worker(stub_broker: StubBroker) -> Iterator[dramatiq.Worker]:
    """A worker for it."""
    with worker(stub_broker, worker_timeout=100) as started:
        yield started
