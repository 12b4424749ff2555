"""What `Guard` and its layers say of a mistake: what to write instead."""

from __future__ import annotations

from datetime import timedelta

import pytest
from helpers import on_loops

from sluicegate import (
    AdaptiveConcurrency,
    AdaptiveRate,
    BoundedExecutor,
    CircuitBreaker,
    Fallback,
    Guard,
    KeyedBreaker,
    KeyedLeakyBucket,
    KeyedSemaphore,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    Pipeline,
    RateLimits,
    Retry,
    Semaphore,
    Stale,
    TokenBucket,
)


def refused(kind, call, *args, **kwargs):
    """Return the text of the error."""
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    return str(caught.value)


# --- a coroutine function that is hidden ----------------------------------------------------------------------------


async def fetch():
    raise AssertionError("it never runs")


def plain():
    """As an ordinary decorator makes it of `fetch`."""
    return fetch()


class CallingRetry(Retry):
    def call(self, function, /, *args, **kwargs):
        return super().call(function, *args, **kwargs)


DECORATORS = {
    "guard": lambda: Guard(),
    "layers": lambda: Guard(fallback=Fallback(1, on=Exception), retry=Retry(on=Exception), breaker=KeyedBreaker(max_keys=9)).key(1),
    "by": lambda: Guard(breaker=KeyedBreaker(max_keys=9)).by(key=lambda: 1),
    "fallback": lambda: Fallback(1),
    "retry": lambda: Retry(on=OSError),
    "retry of a subclass": lambda: CallingRetry(on=OSError),
}


@pytest.mark.parametrize("kind", DECORATORS)
def test_a_decorated_function_that_returns_a_coroutine(kind):
    text = refused(TypeError, DECORATORS[kind]()(plain))
    said = "is no coroutine function, and has returned a coroutine, which runs only later: decorate the `async def` itself"
    assert text.startswith(f"{plain!r} {said}")


@pytest.mark.parametrize("layer", [Guard(), Fallback(1), Retry(on=OSError)])
def test_a_called_function_that_returns_a_coroutine(layer):
    """Also where the call is the body of a decorated function."""
    text = f"is a coroutine function: use `await {type(layer).__name__.lower()}.call_async(...)`"
    assert text in refused(TypeError, layer.call, plain)

    def body():
        return layer.call(plain)

    assert text in refused(TypeError, layer(body))


# --- arguments by position, and layers that are none ---------------------------------------------------------------


def again():
    return Retry(on=OSError)


class OwnRetry(Retry):
    pass


MADE = {
    "Retry(3, OSError)": (lambda: Retry(3, OSError), "Retry() takes from 1 to 2 positional", "write Retry(3, on=OSError)"),
    "several errors": (lambda: Retry(3, (OSError, KeyError)), "Retry() takes", "write Retry(3, on=(OSError, KeyError))"),
    "Retry(OSError)": (lambda: Retry(OSError), "Retry() missing 1 required keyword-only argument: 'on'", "write Retry(on=OSError)"),
    "Retry()": (lambda: Retry(), "Retry() missing 1 required", "as in Retry(3, on=OSError)"),
    "@Retry": (lambda: Retry(plain), "Retry() missing 1 required", "to decorate a function, write `@Retry(on=...)`"),
    "a subclass": (lambda: OwnRetry(3, OSError), "OwnRetry() takes", "write Retry(3, on=OSError)"),
    "Fallback(None, OSError)": (lambda: Fallback(None, OSError), "Fallback() takes", "write Fallback(None, on=OSError)"),
    "Fallback(value=3)": (lambda: Fallback(value=3), "Fallback() got some positional-only", "write Fallback(3)"),
    "Guard(retry)": (lambda: Guard(again()), "Guard() takes 1 positional", "; write Guard(retry=...)"),
    "several layers": (lambda: Guard(again(), CircuitBreaker()), "Guard() takes 1 positional", "; write Guard(retry=..., breaker=...)"),
    "@Guard": (lambda: Guard(plain), "Guard() takes 1 positional", "to decorate a function, write `@Guard(...)`, with parentheses"),
    "AdaptiveRate(200, 10)": (lambda: AdaptiveRate(200, 10), "AdaptiveRate() takes 2", "write AdaptiveRate(200, burst=10)"),
    "@guard()": (lambda: Guard()(), "Guard.__call__() missing", "write it after `@`, without parentheses"),
    "retry(f, 1)": (lambda: again()(plain, 1), "Retry.__call__() takes", "to call one, write `.call(f, ...)`"),
    "fallback(f, 1)": (lambda: Fallback(0)(plain, 1), "Fallback.__call__() takes", "to call one, write `.call(f, ...)`"),
    "another name": (lambda: Guard(retries=3), "Guard() got an unexpected keyword argument 'retries'", ""),
}


@pytest.mark.parametrize("kind", MADE)
def test_arguments_that_are_not_taken(kind):
    make, said, hint = MADE[kind]
    text = refused(TypeError, make)
    assert text.startswith(said)
    assert hint in text
    assert "_Calls" not in text
    assert "__init__" not in text


def test_a_type_error_of_the_body_is_as_it_is():
    assert refused(TypeError, Retry, 3, on=5) == refused(TypeError, Fallback, 3, on=5)
    assert refused(TypeError, Guard, name=3) == "'name' must be a str or None, not 3"


LAYERS = {
    "concurrency": [(8, "; write Semaphore(8)"), (TokenBucket(1, burst=1), "; give it as 'rate'"), (True, ""), (8.5, "")],
    "rate": [
        (50, "; write TokenBucket(50, burst=50)"),
        (0.5, "; write TokenBucket(0.5, burst=1)"),
        (Semaphore(3), "; give it as 'concurrency'"),
        (AdaptiveConcurrency(target=1), "; give it as 'concurrency'"),
    ],
    "retry": [(3, "; write Retry(3, on=...)"), (Fallback(1), "; give it as 'fallback'")],
    "fallback": [
        (3, "; write Fallback(3)"),
        (Stale(60), "; write Fallback(stale=...)"),
        (plain, "; write Fallback(...)"),
        (again(), "; give it as 'retry'"),
        (Fallback, ""),
    ],
    "breaker": [(KeyedSemaphore(3, max_keys=9), "; give it as 'concurrency'"), (CircuitBreaker, "")],
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_layer(name):
    for value, hint in LAYERS[name]:
        text = refused(TypeError, Guard, **{name: value})
        assert text.startswith(f"'{name}' must be a")
        assert text.endswith(f" or None, not {value!r}{hint}")


def test_a_layer_in_the_place_of_a_guard():
    for make in (lambda: Pipeline([1]).map(str, guard=again()), lambda: BoundedExecutor(1, max_pending=1, guard=again())):
        assert refused(TypeError, make).endswith("; write Guard(retry=...)")


KEYED = {
    "guard": lambda: Guard(breaker=KeyedBreaker(max_keys=9)),
    "breaker": lambda: KeyedBreaker(max_keys=9),
    "semaphore": lambda: KeyedSemaphore(3, max_keys=9),
    "bucket": lambda: KeyedTokenBucket(5, burst=5, max_keys=9),
    "leaky bucket": lambda: KeyedLeakyBucket(5, capacity=5, max_keys=9),
    "window": lambda: KeyedSlidingWindow(5, 1, max_keys=9),
}


@pytest.mark.parametrize("kind", KEYED)
def test_by_takes_its_arguments_by_name(kind):
    keyed = KEYED[kind]()
    for arguments in ((str,), ()):
        text = refused(TypeError, keyed.by, *arguments)
        assert text.startswith(f"{type(keyed).__name__}.by() ")
        assert text.endswith("; write `.by(key=...)`, with a function of the call's arguments")


@pytest.mark.parametrize("limit", [TokenBucket(1, burst=1), RateLimits(one=TokenBucket(1, burst=1))])
def test_the_cost_is_given_by_name(limit):
    assert refused(TypeError, limit.by, len).startswith(f"{type(limit).__name__}.by() takes 1 positional")
    assert "write `.by(cost=...)`" in refused(TypeError, limit.by, len)


@pytest.mark.parametrize("limit", ["total", "attempt_timeout"])
@pytest.mark.parametrize("value", [0, 0.0, timedelta(0)])
def test_a_time_limit_of_nothing(limit, value):
    assert refused(ValueError, Guard, **{limit: value}) == f"'{limit}' must be greater than 0, not {value!r}; None is no limit"


# --- key functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KEYED)
@on_loops
async def test_a_key_function_that_returns_none(kind):
    def no_key(_):
        return None

    async def asked(_):
        raise AssertionError("it never runs")

    by = KEYED[kind]().by
    text = f"'key' has returned None: {no_key!r} must return a key for each call"
    assert refused(TypeError, by(key=no_key)(len), "a") == text
    with pytest.raises(TypeError) as caught:
        await by(key=no_key)(asked)(1)
    assert str(caught.value) == text


@pytest.mark.parametrize("kind", KEYED)
def test_a_key_that_is_no_function(kind):
    keyed = KEYED[kind]()
    noun = "limiter" if kind in ("bucket", "leaky bucket", "window") else kind
    text = f"'key' must be a function of the call's arguments, not 'host'; key(k) is the {noun} of one key"
    assert refused(TypeError, keyed.by, key="host") == text
    assert "'key' must be an ordinary function" in refused(TypeError, keyed.by, key=fetch)


# --- which errors ---------------------------------------------------------------------------------------------------

CONDITIONS = {
    "on of a Retry": ("on", lambda value: Retry(on=value)),
    "on of a Fallback": ("on", lambda value: Fallback(1, on=value)),
    "throttled": ("throttled", lambda value: AdaptiveRate(1, burst=1, throttled=value)),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_which_errors_are_meant(kind):
    name, make = CONDITIONS[kind]
    of_classes = f"'{name}' must be subclasses of Exception or a function of the error, not "
    assert refused(TypeError, make, BaseException) == f"{of_classes}{BaseException!r}"
    assert refused(TypeError, make, (OSError, 5)) == f"{of_classes}5"
    assert refused(TypeError, make, 5) == f"'{name}' must be an exception type, a tuple of them or a function of the error, not 5"
    assert refused(TypeError, make, fetch).startswith(f"'{name}' must be an ordinary function, not the coroutine function")
    assert refused(ValueError, make, ()) == f"'{name}' must name at least one exception, not ()"


def test_a_set_does_not_tell_an_adaptive_rate_how_calls_end():
    for limits in (RateLimits(one=AdaptiveRate(1, burst=1)), RateLimits(all=RateLimits(one=AdaptiveRate(1, burst=1)))):
        text = refused(TypeError, Guard, rate=limits)
        assert text.startswith("'rate' must have no AdaptiveRate in it, because a set does not tell it how calls end, not ")
        assert text.endswith("; give the AdaptiveRate itself")
    Guard(rate=RateLimits(one=TokenBucket(1, burst=1), more=RateLimits(two=TokenBucket(1, burst=1), three=Semaphore(3))))
