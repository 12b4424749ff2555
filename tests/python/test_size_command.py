"""`python -m sluicegate size`: what it reads, what it says, and that its advice holds."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from argparse import ArgumentTypeError

import pytest

from sluicegate import _cli, _size, sizing
from sluicegate._size import units
from sluicegate._size.answer import Question, answer

BURST = ["size", "--arrival", "1000/s", "--service", "500/s", "--burst", "2s"]


# What it reads.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000/s", 1000.0),
        ("60/min", 1.0),
        ("3.5k/s", 3500.0),
        ("2M/h", 2e6 / 3600),
        ("1,000/s", 1000.0),
        ("1_000/s", 1000.0),
        ("1e3/s", 1000.0),
        (".5/ms", 500.0),
        ("100/10s", 10.0),
        ("90/1m30s", 1.0),
        ("12 per hour", 12 / 3600),
        (" 5 / s ", 5.0),
        ("86400/d", 1.0),
        ("1K/s", 1000.0),
    ],
)
def test_rates(text: str, value: float) -> None:
    assert units.rate(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2s", 2.0),
        ("100ms", 0.1),
        ("1m30s", 90.0),
        ("1h2m3.5s", 3723.5),
        ("1h 2m", 3720.0),
        ("2.5 min", 150.0),
        ("250us", 250e-6),
        ("250\N{MICRO SIGN}s", 250e-6),
        ("250\N{GREEK SMALL LETTER MU}s", 250e-6),
        ("3ns", 3e-9),
        ("1d", 86400.0),
        ("1 hour", 3600.0),
        ("1e-3s", 1e-3),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert units.duration(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(("text", "value"), [("0.1%", 0.001), ("0.001", 0.001), ("5 %", 0.05), ("99.9%", 0.999), ("1e-6", 1e-6)])
def test_shares(text: str, value: float) -> None:
    assert units.share(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("read", "texts", "advice"),
    [
        (
            units.rate,
            ["1000", "1000/", "/s", "a/s", "-5/s", "5/fortnight", "5/0s", "nan/s", "inf/s", "5//s", "1.2.3/s", ""],
            "not a rate: write it as 1000/s",
        ),
        (units.duration, ["2", "s", "2 fortnights", "-2s", "30s1m", "1s2s", "1s x", "nan s", "", "1:30"], "not a duration: write it as 2s"),
        (units.share, ["", "%", "x", "-1%", "nan"], "not a share: write it as 0.1%"),
        (units.share, ["0", "0%", "1", "100%", "5"], "more than nothing and less than all"),
        (units.rate, ["0/s"], "must be positive"),
        (units.duration, ["0s", "0m0s"], "must be positive"),
        (units.rate, ["1e300/s", "1e999/s", "1e-300/s"], "must be between"),
        (units.duration, ["1e300s", "1e999s", "1e-300s"], "must be between"),
    ],
)
def test_what_cannot_be_read(read, texts: list[str], advice: str) -> None:
    for text in texts:
        with pytest.raises(ArgumentTypeError) as caught:
            read(text)
        assert advice in str(caught.value), text
        assert repr(text) in str(caught.value)


def test_a_bad_rate_is_told_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in (
        (["--arrival", "1000", "--service", "1/s"], "argument --arrival: '1000' is not a rate"),
        (["--arrival", "1/s", "--service", "1/s", "--burst", "2"], "argument --burst: '2' is not a duration"),
        (["--arrival", "1/s", "--service", "1/s", "--workers", "0"], "argument --workers: must be from 1 to 1000000, not 0"),
        (["--arrival", "1/s", "--service", "1/s", "--loss", "5"], "argument --loss: '5' must be more than nothing"),
        (["--arrival", "1/s"], "required: --service"),
    ):
        with pytest.raises(SystemExit) as exit_:
            _cli.main(["size", *arguments])
        assert exit_.value.code == 2
        assert complaint in capsys.readouterr().err


def test_what_no_queue_could_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["size", "--arrival", "1e15/s", "--service", "1/s", "--burst", "1e6s"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "sluicegate size: the result is too large: 1e+21 items\n"


# What it says.


def test_what_comes_after_a_burst_that_can_be_served_may_be_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["size", "--arrival", "400/s", "--service", "500/s", "--burst", "2s", "--normal", "600/s"]) == 0
    printed = capsys.readouterr().out
    assert "600 items a second arrive: the queue grows without end" in printed
    assert "So:" not in printed


def test_a_burst_in_plain_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(_size, "find_spec", lambda package: None)
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert _cli.main(BURST) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert printed.startswith(
        "In a burst of 2 s, 1,000 items a second arrive, and 500 items a second can be served: the queue needs room for 1,000. "
    )
    assert "pip install 'sluicegate[demo]'" in printed
    assert printed.endswith("So: Queue(maxsize=1165)\n")


@pytest.mark.parametrize("more", [["--burst", "2s"], ["--workers", "3"], ["--workers", "3", "--burst", "2s"]])
def test_the_plot(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotext")
    assert _cli.main(["size", "--arrival", "1000/s", "--service", "500/s", *more]) == 0
    printed = capsys.readouterr().out
    assert ("items waiting" if more == ["--burst", "2s"] else "mean wait (ms)") in printed
    assert "\x1b" not in printed
    assert "pip install" not in printed
    assert ("1000\N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}" in printed) is (more == ["--burst", "2s"])


def test_json(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert _cli.main([*BURST, "--normal", "1000/s", "--deadline", "100ms", "--json", "-"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert figures["question"] == {
        "arrival": 1000.0,
        "service": 500.0,
        "workers": 1,
        "burst": 2.0,
        "normal": 1000.0,
        "deadline": 0.1,
        "loss": None,
    }
    assert figures["figures"]["burst"]["drain"] is None  # it never ends
    assert figures["figures"]["burst"]["room"] == 1000
    assert figures["figures"]["workers_needed"] == 2
    assert figures["maxsize"] == figures["figures"]["deadline"]["maxsize"] == 33
    assert figures["sentences"][0] in " ".join(printed.err.split())
    assert _cli.main([*BURST, "--json", str(tmp_path / "x.json")]) == 0
    assert json.loads((tmp_path / "x.json").read_text())["maxsize"] == 1165


def said(**question: object) -> tuple[str, object]:
    found = answer(Question(**question))
    return " ".join(found.paragraphs), found


def test_too_few_workers() -> None:
    text, found = said(arrival=1000.0, service=500.0)
    assert "the queue grows without end" in text
    assert "3 workers can keep up; with 5, 99 % of the items wait no longer than 2 ms." in text
    assert found.maxsize is None
    assert found.curve is None
    assert sizing.mmc(1000, 500, 5).wait_percentile(99) <= 0.002 < sizing.mmc(1000, 500, 4).wait_percentile(99)
    _, found = said(arrival=1000.0, service=500.0, deadline=0.1)
    assert found.figures["workers_needed"] == sizing.workers_needed(1000, 500, target_wait=0.098, percentile=99).workers == 3


def test_too_few_workers_and_a_deadline() -> None:
    """The bound is said without a burst too: what does not fit is refused."""
    text, found = said(arrival=1000.0, service=500.0, deadline=0.1)
    assert "3 workers can keep up, and then 99 % of the items wait no longer than 98 ms." in text
    assert found.maxsize == found.figures["deadline"]["maxsize"] == sizing.deadline_bound(500, 0.1).maxsize == 33
    assert text.endswith("With 1 worker, bound the queue at 33 and refuse the rest.")


def test_what_comes_after_no_burst_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _cli.main(["size", "--arrival", "400/s", "--service", "500/s", "--normal", "100/s"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "sluicegate size: --normal says what arrives after a burst: give --burst too\n"


def test_a_thousandth_may_be_lost_if_nothing_else_is_said() -> None:
    text, found = said(arrival=450.0, service=500.0)
    assert found.maxsize == sizing.loss_bound(450, 500, 0.001).maxsize == 43
    assert "0.0978 % of 450 items a second is refused" in text


def test_a_deadline_alone() -> None:
    _, found = said(arrival=450.0, service=500.0, deadline=0.1)
    assert found.maxsize == 33


def test_a_loss_that_fits_the_deadline() -> None:
    text, found = said(arrival=450.0, service=500.0, deadline=0.1, loss=0.05)
    assert found.maxsize == sizing.loss_bound(450, 500, 0.05).maxsize < 33
    assert "do not go together" not in text


@pytest.mark.parametrize(
    "question",
    [
        Question(450.0, 500.0, deadline=0.1, loss=0.001),
        Question(1000.0, 500.0, burst=2.0, deadline=0.1),
        Question(1000.0, 10.0, workers=20, burst=2.0, deadline=0.3),
        Question(100.0, 10.0, workers=11, burst=None, deadline=0.5, loss=0.0001),
    ],
    ids=str,
)
def test_what_does_not_go_together_and_the_workers_that_mend_it(question: Question) -> None:
    """With as many workers as it says the same question has no conflict, and with fewer it still has."""
    found = answer(question)
    text = " ".join(found.paragraphs)
    assert "do not go together" in text
    bound = sizing.deadline_bound(question.service, question.deadline, workers=question.workers)
    assert found.maxsize == bound.maxsize
    needed = found.figures["workers_needed"]
    assert needed > question.workers
    for workers, together in ((needed, True), (needed - 1, False)):
        text = " ".join(answer(dataclasses.replace(question, workers=workers)).paragraphs)
        assert ("do not go together" not in text) is together


def test_a_deadline_that_is_shorter_than_the_work() -> None:
    text, found = said(arrival=10.0, service=5.0, burst=2.0, deadline=0.1)
    assert "Nothing may wait" in text
    assert "with any waiting items are late" in text
    assert found.maxsize is None
    assert "maxsize of" not in text


def test_a_deadline_that_no_number_of_workers_keeps() -> None:
    text, found = said(arrival=10.0, service=5.0, deadline=0.2)
    assert "3 workers can keep up, but as one item takes 200 ms, no number of them can be sure of a deadline of 200 ms." in text
    assert (found.maxsize, "workers_needed" in found.figures) == (None, False)


def test_a_burst_that_is_none() -> None:
    text, found = said(arrival=400.0, service=500.0, burst=60.0)
    assert "no backlog builds up" in text
    assert "80 % of the time" in text
    assert found.maxsize == sizing.loss_bound(400, 500, 0.001).maxsize


def test_part_of_a_burst_may_be_refused() -> None:
    text, found = said(arrival=1000.0, service=500.0, burst=2.0, loss=0.1)
    smaller = sizing.burst_buffer(900, 500, 2)
    assert found.maxsize == smaller.room + math.ceil(3 * smaller.spread)
    assert "If 10 % of the burst may be refused" in text
    for deadline in (None, 0.1):
        text, found = said(arrival=1000.0, service=500.0, burst=2.0, loss=0.6, deadline=deadline)
        assert found.maxsize is None  # and not 0, which is no bound
        assert "the rest can be served as it comes" in text


def test_the_backlog_that_is_drawn() -> None:
    found = answer(Question(1000.0, 500.0, burst=2.0, normal=300.0))
    assert found.curve.x[0] == found.curve.y[0] == 0
    assert max(found.curve.y) == 1000
    assert found.curve.y[found.curve.x.index(2.0)] == 1000
    assert found.curve.x[-1] == 6.0  # not until it is empty at 7: twice the burst is enough to see it
    assert found.curve.y[-1] == pytest.approx(200)
