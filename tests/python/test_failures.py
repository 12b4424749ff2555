"""What the error of a call says of a service, to a breaker and to an `AdaptiveConcurrency`: the rule of `Retry` and the rates."""

from __future__ import annotations

import datetime as dt
import math
import sys
import types

import pytest
from helpers import run_script

import sluicegate
from sluicegate.testing import ManualClock


@pytest.mark.parametrize(
    "attributes",
    [
        {"retry_after": 40},
        {"retry_after": "40"},
        {"retry_after": b"40"},
        {"retry_after": dt.timedelta(seconds=40)},
        {"response": types.SimpleNamespace(headers={"Retry-After": "40"})},
        {"headers": {"retry-after": "40"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_what_the_server_asks_for_is_read_as_retries_read_it(attributes, by_hand):
    error = OSError()
    vars(error).update(attributes)
    breaker = sluicegate.CircuitBreaker(min_calls=1, clock=ManualClock())
    limit = sluicegate.AdaptiveConcurrency(target=None, initial=1, max=1, dropped=OSError, clock=ManualClock())
    for each in (breaker, limit):
        if by_hand:
            permit = each.permit()
            assert permit.try_acquire()
            permit.failure(error)
        else:
            with pytest.raises(OSError), each.permit():
                raise error
    assert breaker.retry_after == 40
    with limit.permit(), pytest.raises(sluicegate.Overloaded) as caught:
        limit.permit(timeout=0).acquire()
    assert caught.value.retry_after == 40


@pytest.mark.parametrize("told", [None, True, "soon", [40], -1, math.nan], ids=str)
def test_what_cannot_be_read_is_absent(told):
    error = OSError()
    error.retry_after = told
    breaker = sluicegate.CircuitBreaker(min_calls=1, clock=ManualClock())
    with pytest.raises(OSError), breaker.permit():
        raise error
    assert breaker.retry_after == 5


@pytest.mark.parametrize("of", [sluicegate.CircuitBreaker, lambda: sluicegate.AdaptiveConcurrency(target=1)])
def test_what_is_no_exception_is_no_error(of):
    with of().permit() as permit:
        with pytest.raises(TypeError, match=r"'error' must be an exception or None, not 30; write failure\(retry_after=30\)"):
            permit.failure(30)
        with pytest.raises(TypeError, match="'error' must be an exception or None, not 'late'$"):
            permit.failure("late")
        permit.failure(None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs groups of exceptions")
@pytest.mark.parametrize("members", ["(self,)", "(self, ValueError())", "(Own('again', [ValueError()]),)"])
def test_a_group_that_contains_itself_ends(members):
    assert run_script(f"""
import sluicegate
class Own(ExceptionGroup):
    @property
    def exceptions(self):
        return {members}
def failing():
    raise Own("own", [ValueError()])
for guard in (
    sluicegate.Guard(breaker=sluicegate.CircuitBreaker(), concurrency=sluicegate.AdaptiveConcurrency(target=1)),
    sluicegate.Guard(retry=sluicegate.Retry(2, on=OSError)),
    sluicegate.Guard(rate=sluicegate.TokenBucket(10, burst=10), fallback=sluicegate.Fallback(1, on=OSError)),
):
    try:
        guard.call(failing)
    except Own:
        pass
print("over")
""")


class Remote:
    """As `xmlrpc.client.ServerProxy(...).method`: every attribute is a method of the server."""

    def __getattr__(self, name):
        return Remote()

    def __call__(self, *args):
        return True


def test_a_proxy_is_a_function():
    breaker = sluicegate.CircuitBreaker(min_calls=1, failure=Remote())
    with pytest.raises(OSError), breaker.permit():
        raise OSError
    assert breaker.state == "open"
