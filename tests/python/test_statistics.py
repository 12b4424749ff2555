"""What statistics measure is said in one place, and `help()` shows it."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import sluicegate

MADE = {
    "QueueStatistics": lambda: [sluicegate.Queue(), sluicegate.SimpleQueue()],
    "RateStatistics": lambda: [
        sluicegate.TokenBucket(1, burst=1),
        sluicegate.SlidingWindow(1, 1),
        sluicegate.RateLimits(one=sluicegate.TokenBucket(1, burst=1)),
    ],
    "KeyedRateStatistics": lambda: [sluicegate.KeyedTokenBucket(1, burst=1, max_keys=1)],
    "SemaphoreStatistics": lambda: [sluicegate.Semaphore(), sluicegate.BoundedSemaphore(2)],
    "KeyedSemaphoreStatistics": lambda: [sluicegate.KeyedSemaphore(1, max_keys=1)],
    "ChannelStatistics": lambda: [sluicegate.CreditChannel(), sluicegate.AckChannel()],
}
ALL = [name for name in sluicegate.__all__ if name.endswith("Statistics")]


@pytest.mark.parametrize("name", ALL)
def test_each_field_says_what_it_is(name):
    """Kind, unit and a sentence."""
    for field in dataclasses.fields(getattr(sluicegate, name)):
        assert field.metadata["kind"] in {"label", "gauge", "counter"}, field.name
        assert field.metadata["doc"].endswith("."), field.name
        if field.type in {"int", "float"}:
            assert field.metadata["unit"], field.name
        assert (field.metadata["unit"] == "seconds") == field.name.endswith(("_seconds", "_for")), field.name


@pytest.mark.parametrize("name", ALL)
def test_help_shows_the_fields(name):
    """In the class's docstring."""
    kind = getattr(sluicegate, name)
    for field in dataclasses.fields(kind):
        assert f"    {field.name}: {field.metadata['doc']}" in inspect.getdoc(kind)


@pytest.mark.parametrize("name", ALL)
def test_the_binary_fills_them(name):
    """Every object gives the snapshot of its kind, with values of the types that it says."""
    for thing in MADE[name]():
        snapshot = thing.statistics()
        assert type(snapshot) is getattr(sluicegate, name)
        for field in dataclasses.fields(snapshot):
            value = getattr(snapshot, field.name)
            kind = "None" if value is None else type(value).__name__
            assert kind in field.type or (kind, field.type) == ("int", "float"), field.name
        with pytest.raises(dataclasses.FrozenInstanceError):
            snapshot.name = "another"
