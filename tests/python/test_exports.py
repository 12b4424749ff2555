"""The public surface: names, docstrings, signatures; and the stub, which says the same as the binary."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import queue as stdlib_queue
from pathlib import Path

import pytest

import penstock
import penstock.testing
from penstock import _core

NAMES = {
    "BlockingInEventLoopWarning",
    "Clock",
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "ShutDown",
    "SimpleQueue",
    "__version__",
}
PUBLIC = [(penstock, name) for name in sorted(NAMES - {"__version__"})] + [(penstock.testing, "ManualClock")]

QUEUE = {
    "put": "(item, block=True, timeout=None)",
    "get": "(block=True, timeout=None)",
    "put_nowait": "(item)",
    "get_nowait": "()",
    "qsize": "()",
    "empty": "()",
    "full": "()",
    "task_done": "()",
    "join": "(timeout=None)",
    "shutdown": "(immediate=False)",
    "put_many": "(items, block=True, timeout=None)",
    "get_many": "(max, block=True, timeout=None, *, linger=0.0)",
    "clear": "()",
    "peek": "()",
    "statistics": "()",
    "producers": "(n=1)",
    "consumers": "(n=1)",
    "put_async": "(item, timeout=None)",
    "get_async": "(timeout=None)",
    "join_async": "(timeout=None)",
    "put_many_async": "(items, *, timeout=None)",
    "get_many_async": "(max, *, timeout=None, linger=0.0)",
}
SIMPLE = {
    name: QUEUE[name]
    for name in (
        "put",
        "get",
        "put_nowait",
        "get_nowait",
        "qsize",
        "empty",
        "put_many",
        "get_many",
        "clear",
        "peek",
        "statistics",
        "put_async",
        "get_async",
        "put_many_async",
        "get_many_async",
    )
}
CLASSES = [penstock.Queue, penstock.LifoQueue, penstock.PriorityQueue]


def plain(signature):
    """The signature without `self` and annotations."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for name, parameter in signature.parameters.items() if name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)).replace("(/)", "()")


def test_all_is_exact():
    """`__all__` names what is public, and nothing else; each name is there."""
    assert set(penstock.__all__) == NAMES
    assert len(penstock.__all__) == len(NAMES)
    for name in penstock.__all__:
        assert hasattr(penstock, name)
    assert penstock.testing.__all__ == ["ManualClock"]


def test_nothing_else_looks_public():
    """No stray import without an underscore, but the package's own modules."""
    stray = {name for name in vars(penstock) if not name.startswith("_")} - NAMES - {"annotations"}
    modules = {name for name in stray if inspect.ismodule(getattr(penstock, name))}
    assert stray - modules == set()
    assert modules <= {"testing", "janus"}


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_public_object_is_documented_and_at_home(module, name):
    """Docstring and `__module__` of each public object and of each public member."""
    thing = getattr(module, name)
    assert inspect.getdoc(thing)
    assert thing.__doc__, "an inherited docstring is not its own"
    assert thing.__module__ == module.__name__
    assert thing.__name__ == thing.__qualname__ == name
    if issubclass(thing, BaseException):
        return
    for member_name, member in vars(thing).items():
        if member_name.startswith("_") or inspect.ismemberdescriptor(member):  # a dataclass field has comments in its place
            continue
        assert inspect.getdoc(member), f"{name}.{member_name} has no docstring"


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [(kind, name, expected) for kind in CLASSES for name, expected in QUEUE.items()]
    + [(penstock.SimpleQueue, name, expected) for name, expected in SIMPLE.items()],
)
def test_signatures(kind, name, expected):
    """`inspect.signature` works on class and object and tells the agreed parameters."""
    assert plain(inspect.signature(getattr(kind, name))) == expected
    assert plain(inspect.signature(getattr(kind(), name))) == expected
    assert getattr(kind, name).__name__ == name


@pytest.mark.parametrize("kind", CLASSES)
def test_signatures_are_the_stdlibs(kind):
    """What the standard library has too is called the same way."""
    theirs = getattr(stdlib_queue, kind.__name__)
    for name in ("put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done"):
        assert plain(inspect.signature(getattr(kind, name))) == plain(inspect.signature(getattr(theirs, name)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(kind, "(maxsize=0, *, name=None, clock=None)") for kind in CLASSES]
    + [(penstock.SimpleQueue, "(*, name=None, clock=None)"), (penstock.Clock, "()"), (penstock.testing.ManualClock, "(start=0.0)")],
)
def test_constructors(kind, expected):
    """`inspect.signature` of the classes."""
    assert plain(inspect.signature(kind)) == expected


def test_simple_queue_has_no_more():
    """`SimpleQueue` has neither bound nor tasks nor end."""
    for name in ("maxsize", "full", "join", "task_done", "shutdown", "join_async", "producers", "consumers"):
        assert not hasattr(penstock.SimpleQueue, name)


@pytest.mark.parametrize("name", [name for name in QUEUE if name.endswith("_async")])
def test_async_methods(name):
    """`*_async` are coroutine functions whose names and home are right."""
    method = getattr(penstock.Queue, name)
    assert inspect.iscoroutinefunction(method)
    assert asyncio.iscoroutinefunction(method) if not hasattr(inspect, "markcoroutinefunction") else True
    assert method.__module__ == "penstock"
    assert method.__qualname__ == f"Queue.{name}"


def test_inheritance():
    """`LifoQueue` and `PriorityQueue` are `Queue`s; `SimpleQueue` is not."""
    assert issubclass(penstock.LifoQueue, penstock.Queue)
    assert issubclass(penstock.PriorityQueue, penstock.Queue)
    assert not issubclass(penstock.SimpleQueue, penstock.Queue)
    assert issubclass(penstock.testing.ManualClock, penstock.Clock)


def test_the_package_is_typed():
    """`py.typed` and the stub are installed beside the module."""
    here = Path(penstock.__file__).parent
    assert (here / "py.typed").is_file()
    assert (here / "_core.pyi").is_file()


def test_version_is_the_distributions():
    """`__version__` is the version of what is installed."""
    metadata = importlib.import_module("importlib.metadata")
    assert penstock.__version__ == metadata.version("penstock")


# ---------------------------------------------------------------------------------------------------------- the stub

STUB = Path(penstock.__file__).with_name("_core.pyi")


def stub_docstrings():
    """(qualified name, docstring) of everything the stub documents; an overload may carry it for all."""
    if not STUB.is_file():
        return {}
    found = {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                name = f"{prefix}{node.name}"
                doc = ast.get_docstring(node)
                if doc:
                    found[name] = doc
                else:
                    found.setdefault(name, None)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{name}.")

    visit(ast.parse(STUB.read_text(encoding="utf-8")).body, "")
    return found


STUBBED = stub_docstrings()


def resolve(name):
    thing = _core
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part) if inspect.isclass(thing) else getattr(thing, part)
    return thing


def test_the_stub_documents_the_classes():
    """The stub has the classes and their docstrings."""
    for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Clock", "ManualClock"):
        assert STUBBED.get(name), f"{name} has no docstring in the stub"


@pytest.mark.parametrize("name", [name for name, doc in STUBBED.items() if doc])
def test_the_stubs_docstrings_are_the_binarys(name):
    """Editors read docstrings from the stub; they must not tell another story than `help()`."""
    assert inspect.cleandoc(resolve(name).__doc__ or "") == STUBBED[name]


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Clock", "ManualClock"])
def test_the_stub_leaves_nothing_out(kind):
    """Every public member of the binary's classes is in the stub, with its docstring."""
    binary = getattr(_core, kind)
    for name, member in vars(binary).items():
        if name.startswith("_"):
            continue
        assert (
            f"{kind}.{name}" in STUBBED or any(f"{base.__name__}.{name}" in STUBBED for base in binary.__mro__[1:]) or not callable(member)
        ), f"{kind}.{name} is not in the stub"
        if callable(member):
            assert STUBBED.get(f"{kind}.{name}"), f"{kind}.{name} has no docstring in the stub"
