"""What types a user of retries gets."""

from __future__ import annotations

import random
from datetime import timedelta

from typing_extensions import assert_type

from sluicegate import Backoff, Retry, RetryAttempt, RetryBudget, RetryStatistics
from sluicegate.http import parse_retry_after

retry = Retry(
    5, on=(OSError, TimeoutError), backoff=Backoff(0.1, timedelta(seconds=5), jitter="equal"), total=30, random=random.Random(7), name="r"
)
by_function = Retry(None, on=lambda error: 5.0 if isinstance(error, OSError) else False, total=timedelta(minutes=1), budget=RetryBudget())


@retry
def plain(n: int, *, text: str = "") -> str:
    return text * n


@retry
async def awaited(n: int) -> str:
    return str(n)


class Client:
    @retry
    def get(self, n: int) -> bytes:
        return bytes(n)


async def calls() -> None:
    assert_type(plain(1, text="a"), str)
    plain("1")  # pyright: ignore[reportArgumentType]  # it keeps the signature
    assert_type(await awaited(1), str)
    assert_type(Client().get(1), bytes)
    assert_type(retry.call(plain, 1, text="a"), str)
    assert_type(await retry.call_async(awaited, 1), str)
    retry.call(plain, "1")  # pyright: ignore[reportArgumentType]
    for attempt in retry:
        assert_type(attempt, RetryAttempt)
        with attempt:
            assert_type(attempt.number, int)
            assert_type(attempt.remaining, float | None)
    async for attempt in retry:
        async with attempt as same:
            assert_type(same, RetryAttempt)
    assert_type(retry.statistics(), RetryStatistics)
    assert_type(retry.budget, RetryBudget)
    assert_type(parse_retry_after("120"), float | None)
