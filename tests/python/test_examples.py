"""Every example is run, with small numbers, and says what its page says it does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def load(program: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(program.removesuffix(".py"), EXAMPLES / program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def test_all_examples_are_listed_and_tested() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text("utf-8")))
    assert programs == {"rate_limited_client.py"}


# The rate-limited client.

PAGES = 20


def fetch(limiter: str, *arguments: str) -> tuple[int, int]:
    """How many pages were fetched, and how many requests were refused."""
    printed = run("rate_limited_client.py", "--limiter", limiter, "--pages", str(PAGES), "--threads", "4", "--tasks", "4", *arguments)
    (line,) = re.findall(rf"^{limiter}\b.*$", printed, re.MULTILINE)
    _, pages, refused, *_ = line.split()
    return int(pages), int(refused)


@pytest.mark.parametrize("limiter", ["none", "bucket"])
def test_without_the_right_limiter_the_server_refuses(limiter: str) -> None:
    pages, refused = fetch(limiter)
    assert pages == PAGES
    assert refused > 0


def test_a_window_with_a_margin_is_not_refused() -> None:
    # It could be, if the machine held up a request for longer than the margin and not the next one: it would have to do so every time.
    for _ in range(5):
        pages, refused = fetch("window", "--margin", "0.5")
        assert pages == PAGES
        if refused == 0:
            return
    raise AssertionError(f"refused {refused} times")


def test_counting_from_the_answer_is_never_refused() -> None:
    assert fetch("answer") == (PAGES, 0)


def test_the_servers_quota_counts_any_window_and_not_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("rate_limited_client.py")
    quota = example.Quota(2, 1.0)
    answers = []
    for now in (0.0, 0.75, 0.75, 0.875, 1.0, 1.5, 1.75):
        monkeypatch.setattr(example, "time", SimpleNamespace(monotonic=lambda now=now: now))
        answers.append(quota.ask())
    assert answers == [None, None, 0.25, 0.125, None, 0.25, None]
    assert quota.refused == 3
    assert quota.busiest() == 5  # those after 0.5 and until 1.5


def test_the_servers_answers_are_plain_http() -> None:
    import http.client
    import threading

    example = load("rate_limited_client.py")
    with example.Server(example.Quota(1, 60.0)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        connection = http.client.HTTPConnection(example.HOST, server.server_port, timeout=10)
        try:
            connection.request("GET", "/page/1")
            first = connection.getresponse()
            assert (first.status, first.read()) == (200, b"this is /page/1\n")
            connection.request("GET", "/page/2")
            second = connection.getresponse()
            assert (second.status, second.headers["Retry-After"]) == (429, "60")
            second.read()
        finally:
            connection.close()
            server.shutdown()
