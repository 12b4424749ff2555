"""What `Guard` and its layers say of a mistake: what to write instead."""

from __future__ import annotations

import pytest

from sluicegate import (
    Fallback,
    Guard,
    KeyedBreaker,
    Retry,
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


DECORATORS = {
    "guard": lambda: Guard(),
    "guard with layers": lambda: Guard(fallback=Fallback(1, on=Exception), retry=Retry(on=Exception), breaker=KeyedBreaker(max_keys=9)).key(1),
    "by": lambda: Guard(breaker=KeyedBreaker(max_keys=9)).by(key=lambda: 1),
    "fallback": lambda: Fallback(1),
    "retry": lambda: Retry(on=OSError),
    "retry of a subclass": lambda: type("Own", (Retry,), {"call": lambda self, function: super(type(self), self).call(function)})(on=OSError),
}


@pytest.mark.parametrize("kind", DECORATORS)
def test_a_decorated_function_that_returns_a_coroutine(kind):
    text = refused(TypeError, DECORATORS[kind]()(plain))
    assert text.startswith(f"{plain!r} is no coroutine function, and has returned a coroutine, which runs only later: decorate the `async def`")


@pytest.mark.parametrize("layer", [Guard(), Fallback(1), Retry(on=OSError)])
def test_a_called_function_that_returns_a_coroutine(layer):
    """Also where the call is the body of a decorated function."""
    text = f"is a coroutine function: use `await {type(layer).__name__.lower()}.call_async(...)`"
    assert text in refused(TypeError, layer.call, plain)

    def body():
        return layer.call(plain)

    assert text in refused(TypeError, layer(body))
