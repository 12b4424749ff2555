"""Functions of every kind behind a circuit breaker."""

from __future__ import annotations

import functools
import inspect

import pytest
from helpers import on_loops, run_on

from sluicegate import CircuitBreaker, CircuitOpen, KeyedBreaker


class Failed(Exception):
    """What the service raises."""


def outcomes(breaker):
    """Successes, failures, ignored."""
    seen = breaker.statistics()
    return seen.successes, seen.failures, seen.ignored


def made(**options):
    return CircuitBreaker(min_calls=1000, **options)


def test_whatever_can_be_called_can_be_decorated():
    """A `def`, a method, a partial, an object that can be called; with and without parentheses."""
    breaker = made()

    class Service:
        @breaker
        def method(self, answer):
            return self, answer

        def __call__(self, answer):
            return answer

    @breaker()
    def function(answer, *, error=None):
        """Documented."""
        if error:
            raise error
        return answer

    service = Service()
    assert service.method(1) == (service, 1)
    assert breaker(service)(2) == 2
    assert breaker(functools.partial(function, 3))() == 3
    assert function(4) == 4
    assert (function.__name__, function.__doc__) == ("function", "Documented.")
    with pytest.raises(Failed):
        function(5, error=Failed())
    with pytest.raises(KeyboardInterrupt):
        function(6, error=KeyboardInterrupt())
    assert outcomes(breaker) == (5, 1, 1)  # the partial counts twice: it is decorated, and so is what it calls
    breaker.force_open()
    with pytest.raises(CircuitOpen):
        function(7)


@on_loops
async def test_coroutine_functions():
    """An `async def`, a partial of one, an object whose `__call__` is one."""
    breaker = made()

    class Service:
        async def __call__(self, answer):
            return answer

    @breaker
    async def function(error=None):
        if error:
            raise error
        return 1

    for decorated in (function, breaker(Service()), breaker(functools.partial(Service(), 1))):
        assert inspect.iscoroutinefunction(decorated)
    assert await function() == await breaker(Service())(1) == await breaker(functools.partial(Service(), 1))() == 1
    with pytest.raises(Failed):
        await function(Failed())
    assert outcomes(breaker) == (3, 1, 0)
    function().close()  # never begun
    assert breaker.statistics().calls == 4


def test_generators():
    """The call lasts as long as the iteration: it begins with the first item and ends with the last."""
    breaker = made()

    @breaker
    def numbers(error=None):
        got = yield 1
        yield got
        if error:
            raise error
        return "end"

    numbers()
    assert breaker.statistics().calls == 0
    generator = numbers()
    assert (next(generator), generator.send("sent")) == (1, "sent")
    assert (breaker.statistics().calls, outcomes(breaker)) == (1, (0, 0, 0))
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    assert outcomes(breaker) == (1, 0, 0)
    with pytest.raises(Failed):
        list(numbers(Failed()))
    generator = numbers()
    next(generator)
    with pytest.raises(Failed):
        generator.throw(Failed())
    assert outcomes(breaker) == (1, 2, 0)
    for item in numbers():  # left in the middle
        assert item == 1
        break
    generator = numbers()
    next(generator)
    generator.close()
    assert outcomes(breaker) == (1, 2, 2)
    breaker.force_open()
    refused = numbers()
    with pytest.raises(CircuitOpen):
        next(refused)


@on_loops
async def test_async_generators():
    """The same for asynchronous ones."""
    breaker = made()

    @breaker
    async def numbers(error=None):
        got = yield 1
        yield got
        if error:
            raise error

    generator = numbers()
    assert await anext(generator) == 1
    assert await generator.asend("sent") == "sent"
    assert outcomes(breaker) == (0, 0, 0)
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    with pytest.raises(Failed):
        [item async for item in numbers(Failed())]
    generator = numbers()
    await anext(generator)
    with pytest.raises(Failed):
        await generator.athrow(Failed())
    generator = numbers()
    await anext(generator)
    await generator.aclose()
    assert outcomes(breaker) == (1, 2, 1)
    breaker.force_open()
    with pytest.raises(CircuitOpen):
        await anext(numbers())


def test_results_that_are_failures():
    """`failed` is asked about what a function returns, and a mistake in it is not the service's."""
    breaker = made()

    @breaker(failed=lambda status: status >= 500)
    def get(status):
        return status

    @breaker(failed=lambda status: status >= 500)
    async def get_async(status):
        return status

    assert [get(200), get(503)] == [200, 503]
    assert [run_on("asyncio", get_async(200)), run_on("asyncio", get_async(500))] == [200, 500]
    assert outcomes(breaker) == (2, 2, 0)
    with pytest.raises(TypeError):
        get("200")
    assert outcomes(breaker) == (2, 2, 1)


def test_what_cannot_be_decorated():
    """Classes, what is no function, and `failed` where there is no result."""
    breaker = made()
    for thing in (int, "function", 5):
        with pytest.raises(TypeError, match="can decorate only a function"):
            breaker(thing)
    with pytest.raises(TypeError, match="'failed' must be a function of the result or None, not 500"):
        breaker(failed=500)

    def numbers():
        yield 1

    async def numbers_async():
        yield 1

    for generator in (numbers, numbers_async):
        with pytest.raises(TypeError, match="returns a generator"):
            breaker(failed=bool)(generator)


def test_a_key_for_each_call():
    """`by` takes the key from the arguments."""
    hosts = KeyedBreaker(max_keys=10, calls=1)

    @hosts.by(key=lambda host, error=None: host)
    def get(host, error=None):
        if error:
            raise error
        return host

    @hosts.by(key=lambda host: host, failed=lambda answer: answer == "b")
    async def get_async(host):
        return host

    with pytest.raises(Failed):
        get("a", error=Failed())
    with pytest.raises(CircuitOpen):
        get("a")
    with pytest.raises(CircuitOpen):
        run_on("asyncio", get_async("a"))
    assert get("b") == "b"
    assert run_on("asyncio", get_async("b")) == "b"
    assert [hosts.state(host) for host in "abc"] == ["open", "open", "closed"]
    with pytest.raises(TypeError, match="'key' must be a function of the call's arguments"):
        hosts.by(key="a")
    with pytest.raises(TypeError):
        get(["no key"])
