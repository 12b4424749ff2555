"""Who asks what kind of queue it is, and with what arguments it may be called: the answers are the standard library's."""

from __future__ import annotations

import functools
import inspect
import queue
import typing
from typing import Any

import pytest
from dropin import KINDS

import sluicegate

ALL = [*KINDS, "SimpleQueue"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ours(kind: str) -> Any:
    return getattr(sluicegate, kind)


# --- isinstance and issubclass ------------------------------------------------------------------------------


def test_a_queue_is_a_queue_queue(kind: str, ours: Any) -> None:
    q = ours(3)
    assert isinstance(q, queue.Queue)
    assert isinstance(q, sluicegate.Queue)
    assert isinstance(q, ours)
    assert isinstance(q, (int, queue.Queue))


@pytest.mark.parametrize("other", KINDS)
def test_each_kind_is_what_the_stdlibs_is(kind: str, other: str) -> None:
    theirs = getattr(queue, kind)
    mine = getattr(sluicegate, kind)
    assert isinstance(mine(), getattr(queue, other)) == isinstance(theirs(), getattr(queue, other))
    assert isinstance(mine(), getattr(sluicegate, other)) == isinstance(theirs(), getattr(queue, other))
    assert issubclass(mine, getattr(sluicegate, other)) == issubclass(theirs, getattr(queue, other))


def test_simple_queue_is_no_queue() -> None:
    assert not isinstance(sluicegate.SimpleQueue(), queue.Queue)
    assert not issubclass(sluicegate.SimpleQueue, sluicegate.Queue)
    assert not isinstance(sluicegate.Queue(), sluicegate.SimpleQueue)


def test_the_stdlibs_queues_are_not_ours() -> None:
    assert not isinstance(queue.Queue(), sluicegate.Queue)
    assert not issubclass(queue.Queue, sluicegate.Queue)


def test_a_users_subclass_is_a_queue(ours: Any) -> None:
    class Mine(ours):
        pass

    class Further(Mine):
        def _put(self, item: Any) -> None:
            super()._put(item)

    for cls in (Mine, Further):
        q = cls(2)
        assert isinstance(q, queue.Queue)
        assert isinstance(q, ours)
        assert isinstance(q, Mine)
        assert issubclass(cls, queue.Queue)
        assert issubclass(cls, ours)
        assert q.__class__ is type(q) is cls
        q.put(1)
        assert (q.maxsize, q.get()) == (2, 1)
    assert not isinstance(Mine(), Further)


def test_a_subclass_with_another_base(ours: Any) -> None:
    class Mixin:
        def double_put(self, item: Any) -> None:
            self.put(item)
            self.put(item)

    for bases in ((Mixin, ours), (ours, Mixin)):
        cls = type("Both", bases, {})
        q = cls(4)
        q.double_put(1)
        assert isinstance(q, queue.Queue)
        assert isinstance(q, Mixin)
        assert [q.get(), q.get()] == [1, 1]


def test_a_generic_subclass() -> None:
    T = typing.TypeVar("T")

    class Typed(sluicegate.Queue[T], typing.Generic[T]):
        pass

    q = Typed[int](1)
    assert isinstance(q, queue.Queue)
    assert isinstance(q, Typed)

    class Ints(sluicegate.Queue[int]):
        pass

    assert isinstance(Ints(), queue.Queue)


# --- __class__ ------------------------------------------------------------------------------------------------


def test_calling_the_class_of_a_queue_makes_one_of_ours(ours: Any) -> None:
    q = ours(3)
    again = q.__class__(5)
    assert type(again) is ours is type(q)
    assert again.maxsize == 5
    assert type(q.__class__(maxsize=7)) is ours
    assert type(q.__class__()) is ours


def test_the_class_of_a_queue_has_its_name(kind: str, ours: Any) -> None:
    assert ours().__class__.__name__ == kind
    assert ours.__name__ == kind
    assert ours.__module__ == "sluicegate"
    assert issubclass(ours().__class__, queue.Queue)


# --- singledispatch ----------------------------------------------------------------------------------------------


def test_singledispatch_on_the_stdlibs_class(ours: Any) -> None:
    @functools.singledispatch
    def what(thing: object) -> str:
        return "something"

    @what.register
    def _(thing: queue.Queue) -> str:
        return "a queue"

    assert what(ours()) == "a queue"
    assert what(type("Mine", (ours,), {})()) == "a queue"
    assert what(queue.Queue()) == "a queue"
    assert what(sluicegate.SimpleQueue()) == "something"


def test_singledispatch_on_our_class(kind: str, ours: Any) -> None:
    @functools.singledispatch
    def what(thing: object) -> str:
        return "something"

    what.register(sluicegate.Queue, lambda thing: "ours")
    assert what(ours()) == "ours"
    assert what(type("Mine", (ours,), {})()) == "ours"
    assert what(queue.Queue()) == "something"
    what.register(sluicegate.PriorityQueue, lambda thing: "a heap of ours")
    assert what(ours()) == ("a heap of ours" if kind == "PriorityQueue" else "ours")


def test_singledispatch_on_both(ours: Any) -> None:
    @functools.singledispatch
    def what(thing: object) -> str:
        return "something"

    what.register(queue.Queue, lambda thing: "a queue")
    what.register(sluicegate.Queue, lambda thing: "ours")
    assert what(ours()) == "ours"
    assert what(queue.Queue()) == "a queue"


def test_match_by_class(ours: Any) -> None:
    match ours(2):
        case queue.Queue(maxsize=found):
            assert found == 2
        case _:
            raise AssertionError("not matched")


# --- signatures -----------------------------------------------------------------------------------------------------

METHODS = ["put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done", "_init", "_qsize", "_put", "_get"]
SIMPLE_METHODS = ["put", "get", "put_nowait", "get_nowait", "qsize", "empty"]


def parameters(callable_: Any) -> list[tuple[Any, ...]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(callable_).parameters.values()]


def the_stdlibs(callable_: Any) -> list[tuple[Any, ...]]:
    """The parameters without what ours take beside the standard library's, which is keyword-only and optional."""
    ours_alone = [("ttl", inspect.Parameter.KEYWORD_ONLY, None)]
    return [each for each in parameters(callable_) if each not in ours_alone]


@pytest.mark.parametrize("method", METHODS)
def test_the_signature_of_a_bound_method_is_the_stdlibs(kind: str, method: str) -> None:
    theirs, mine = getattr(queue, kind)(), getattr(sluicegate, kind)()
    assert the_stdlibs(getattr(mine, method)) == parameters(getattr(theirs, method))


@pytest.mark.parametrize("method", METHODS)
def test_the_signature_of_an_unbound_method_has_the_same_names(kind: str, method: str) -> None:
    # A method written in C takes `self` by position only: that is the one difference.
    names = [p[0] for p in the_stdlibs(getattr(getattr(sluicegate, kind), method))]
    assert names == [p[0] for p in parameters(getattr(getattr(queue, kind), method))]


@pytest.mark.parametrize("method", SIMPLE_METHODS)
def test_the_signature_of_simple_queues_methods(method: str) -> None:
    assert parameters(getattr(sluicegate.SimpleQueue(), method)) == parameters(getattr(queue.SimpleQueue(), method))


def test_where_ours_take_more_it_is_optional(ours: Any) -> None:
    empty = inspect.Parameter.empty
    init = parameters(ours)
    assert init[0][0] == "maxsize"
    assert init[0][2] == 0
    assert all(kind is inspect.Parameter.KEYWORD_ONLY and default is not empty for _, kind, default in init[1:])
    q = ours()
    assert parameters(q.shutdown)[0] == ("immediate", inspect.Parameter.POSITIONAL_OR_KEYWORD, False)
    assert [(name, default) for name, _, default in parameters(q.join)] == [("timeout", None)]


@pytest.mark.parametrize("name", ALL)
def test_everything_public_in_the_stdlibs_class_is_in_ours(name: str) -> None:
    theirs, mine = getattr(queue, name)(), getattr(sluicegate, name)()
    public = {attribute for attribute in dir(theirs) if not attribute.startswith("_")}
    assert public - set(dir(mine)) == set()
    for attribute in public:
        getattr(mine, attribute)


@pytest.mark.parametrize("name", ALL)
def test_every_name_in_dir_is_there(name: str) -> None:
    cls = getattr(sluicegate, name)
    for q in (cls(), type("Mine", (cls,), {"extra": 1})()):
        for attribute in set(dir(q)) - {"__abstractmethods__"}:
            getattr(q, attribute)


@pytest.mark.parametrize("name", ALL)
def test_every_public_method_is_documented_and_named(name: str) -> None:
    cls = getattr(sluicegate, name)
    assert inspect.getdoc(cls)
    for attribute, value in inspect.getmembers(cls, callable):
        if not attribute.startswith("_"):
            assert inspect.getdoc(value), attribute
            assert value.__name__ == attribute
            assert value.__qualname__.endswith(f".{attribute}"), value.__qualname__
