"""The demo: the same result with a Pipeline and by hand, bounds that hold, and errors that end it."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import tokenize
from collections import Counter
from collections.abc import Callable
from keyword import iskeyword
from pathlib import Path
from typing import Any

import helpers
import pytest

from sluicegate import _cli, _demo
from sluicegate._demo import by_hand, model, pipeline, sources
from sluicegate._demo.model import Config, DemoError, Figures, OnTheWay, Outcome, Reader, Sample, Totals
from sluicegate._demo.report import watcher
from sluicegate._screen import Progress, RichScreen, Screen

KINDS = ["sluicegate", "stdlib"]
SOURCES = ["sluicegate", "python"]

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_sources = pytest.mark.parametrize("source", SOURCES)

CODE = (
    r"""
'A docstring of one line: alpha'
import os, sys  # a comment: beta 'gamma'

def delta(eta, theta=0x1F, iota=1e10, kappa=1.e5, mu=1e-5j, nu=1.5e-3.real):
    s = 'a # b' + "c ' d" + r"\" e" + rb'\' f' + f"{g} h" + U'i'
    t = QQQx # y
    "" z \QQQ still
    QQQ + 'con\
tinued'
    return eta.delta(s, t, größe=1) if theta else None
""".replace("QQQ", "'" * 3)
    + 'last = """one\n\' two\n"""\n'
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "code.py": CODE.encode(),
        "many/lines.py": b"value = other + 1\n" * 3000,
        "many/windows.py": b"one = 1\r\ntwo = one\r\n",
        "many/old_mac.py": b"three = 3\rfour = three\r",
        "no_newline.py": b"last = line",
        "empty.py": b"",
        "blank.py": b"\n\n\n",
        "latin1.py": "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1"),
        "bom.py": b"\xef\xbb\xbfmarked = 1\n",
        "undecodable.py": b"good = 1\nbad = '\xff\xfe'\n",
        "bad_cookie.py": b"# coding: no-such-codec\nstill = read\n",
        "unterminated.py": b"before = 1\ns = '''never closed\nwords = here\n",
        "nul.py": b"nul = '\0'\n",
        "stray.py": b"x = 'no end\ny = x\n",
        "not_python.txt": b"ignored\n",
        "site-packages/installed.py": b"ignored = 1\n",
        "__pycache__/cached.py": b"ignored = 1\n",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def names_by_tokenize(text: str) -> Counter[str]:
    names: Counter[str] = Counter()
    inside_f_string = 0
    starts = {getattr(tokenize, name, None) for name in ("FSTRING_START", "TSTRING_START")}
    ends = {getattr(tokenize, name, None) for name in ("FSTRING_END", "TSTRING_END")}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        inside_f_string += (token.type in starts) - (token.type in ends)
        if token.type == tokenize.NAME and not iskeyword(token.string) and not inside_f_string:
            names[token.string] += 1
    return names


# Reading and counting.


def test_identifiers_are_those_that_tokenize_finds() -> None:
    assert sources.count(sources.cut(CODE)).names == names_by_tokenize(CODE)


@pytest.mark.parametrize("module", ["queue", "heapq", "textwrap", "argparse", "enum", "this", "fractions", "shlex"])
def test_identifiers_of_real_files_are_those_that_tokenize_finds(module: str) -> None:
    text = sources.read_source(sources.standard_library() / f"{module}.py").text
    assert sources.count(sources.cut(text)).names == names_by_tokenize(text)


def test_pieces_make_up_the_text(tree: Path) -> None:
    for path in sources.find_files(tree):
        text = sources.read_source(path).text
        assert "".join(sources.cut(text)) == text


def test_pieces_can_be_counted_in_any_order_and_grouping(tree: Path) -> None:
    pieces = [piece for path in sources.find_files(tree) for piece in sources.cut(sources.read_source(path).text)]
    pieces += ["x = 'no end\\\n", 'y = "no end\\\n', "z = '''no end\n", 'w = """no end\n', "v = '\n", 'u = "\n'] * 3
    apart: Counter[str] = Counter()
    for piece in pieces:
        apart.update(sources.count([piece]).names)
    for seed in range(50):
        random.Random(seed).shuffle(pieces)
        assert sources.count(pieces).names == apart


def test_a_multi_line_string_stays_in_one_piece() -> None:
    assert sources.cut('a = 1\nb = """x\ny"""\nc = 2\n') == ["a = 1\n", 'b = """x\ny"""\n', "c = 2\n"]


def test_files_are_found_in_a_fixed_order_and_installed_packages_left_out(tree: Path) -> None:
    found = [path.relative_to(tree).as_posix() for path in sources.find_files(tree)]
    top = sorted(name for name in found if "/" not in name)
    assert found == [*top, "many/lines.py", "many/old_mac.py", "many/windows.py"]
    assert "code.py" in top
    assert "site-packages/installed.py" not in found


def test_one_file_is_a_tree_too(tree: Path) -> None:
    assert sources.find_files(tree / "code.py") == [tree / "code.py"]


def test_what_cannot_be_decoded_is_replaced(tree: Path) -> None:
    damaged = {path.name for path in sources.find_files(tree) if sources.read_source(path).damaged}
    assert damaged == {"undecodable.py", "bad_cookie.py", "nul.py"}


# The pipeline.


ways = {"sluicegate": pipeline.run, "stdlib": by_hand.run}


def run(tree: Path, kind: str, watch: Callable[[Sample], None] | None = None, **options: Any) -> Outcome:
    return ways[kind](Config(sources.find_files(tree), kind, **options), watch)


@both_sources
@both_kinds
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"maxsize": 1},
        {"maxsize": 3, "readers": 5, "workers": 1},
        {"maxsize": 16, "readers": 1, "workers": 4},
        {"readers": 40},
    ],
    ids=str,
)
def test_the_result_does_not_depend_on_the_queue_or_on_the_threads(tree: Path, kind: str, source: str, options: dict[str, int]) -> None:
    expected_names, expected_lines = Counter[str](), 0
    for path in sources.find_files(tree):
        part = sources.count([sources.read_source(path).text])
        expected_names.update(part.names)
        expected_lines += part.lines
    outcome = run(tree, kind, None, source=source, **options)
    assert (outcome.files, outcome.damaged) == (14, 3)
    assert outcome.lines == expected_lines
    assert outcome.names == expected_names
    assert outcome.top(2) == [("other", 3000), ("value", 3000)]


@both_kinds
def test_a_tree_without_files_has_a_result(tmp_path: Path, kind: str) -> None:
    outcome = run(tmp_path, kind)
    assert (outcome.files, outcome.lines, outcome.top()) == (0, 0, [])


@both_kinds
def test_the_bounds_hold(tree: Path, kind: str) -> None:
    figures = {each.name: each for each in run(tree, kind, maxsize=7).figures}
    assert all(each.bound is None or each.peak <= each.bound for each in figures.values())
    if kind == "sluicegate":
        assert [figures[name].bound for name in ("lines", "count", "add up", "all stages")] == [3, 4, None, 7]
        assert figures["all stages"].peak >= 1
        assert all(each.blocked_seconds is not None for name, each in figures.items() if name != "all stages")
    else:
        assert [figures[name].bound for name in ("lines", "results")] == [7, 1]
        assert figures["lines"].blocked_seconds is None


def test_a_slow_last_stage_holds_up_the_others(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it rests the stages before it are full, and no more of the lines are read than there is room for."""
    full = threading.Event()
    rest = pipeline.asyncio.sleep

    async def until_full(seconds: float) -> None:
        while not full.is_set():
            await rest(0.001)

    def watch(sample: Sample) -> None:
        if sample.held[:2] == (3, 4) and "lines 3/3 blocked, count 4/4 blocked" in sample.state:
            full.set()

    monkeypatch.setattr(pipeline.asyncio, "sleep", until_full)
    outcome = run(tree, "sluicegate", watch, maxsize=7, slow=0.001)
    assert full.is_set()
    assert {each.name: each for each in outcome.figures}["all stages"].peak == 7
    assert outcome.bottleneck == "add up"
    assert run(tree, "stdlib", slow=0.001).names == outcome.names


@both_kinds
def test_the_window_holds(tree: Path, kind: str) -> None:
    """A file of several windows."""
    (tree / "large.py").write_bytes(b"value = other + 1\n" * 60_000)
    outcome = run(tree, kind)
    assert outcome.channels is not None
    assert outcome.channels.bound == outcome.channels.peak == model.WINDOW
    assert run(tree, kind, source="python").names == outcome.names


@both_kinds
def test_a_file_that_vanishes_ends_the_run_with_its_error(tree: Path, kind: str) -> None:
    files = [*sources.find_files(tree), tree / "gone.py"]
    with pytest.raises(FileNotFoundError, match=r"gone\.py"):
        ways[kind](Config(files, kind))


def test_bytes_above_the_window_are_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.Tally, "peak_bytes", property(lambda _: 2**20, lambda *_: None))
    with pytest.raises(DemoError, match="1048576 bytes of a file were on their way"):
        run(tree, "sluicegate")


def test_more_than_the_bound_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DemoError, match="'lines' held 3 items, its bound is 2"):
        model.check(Config([]), Reader("python"), Totals(), 0.0, [], [Figures("lines", 2, 3)], None)
    monkeypatch.setattr(OnTheWay, "leave", lambda self: None)
    with pytest.raises(DemoError, match=r"'all stages' held \d+ items, its bound is 7"):
        run(tree, "sluicegate", maxsize=7)


@both_kinds
def test_a_line_that_is_lost_is_an_error(tree: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = sources.count

    def forgetful(pieces: list[str]) -> sources.Count:
        part = count(pieces)
        return sources.Count(max(0, part.lines - 1), part.names)

    monkeypatch.setattr(sources, "count", forgetful)
    with pytest.raises(DemoError, match="lines read, but"):
        run(tree, kind)


class BrokenError(Exception):
    """Something that goes wrong in a stage."""


def break_in_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    read = sources.read_source

    def broken(path: Path, fetch: Callable[[Path], bytes]) -> sources.Source:
        if path.name == "no_newline.py":
            raise BrokenError
        return read(path, fetch)

    monkeypatch.setattr(sources, "read_source", broken)


def break_in_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    count = sources.count

    def broken(pieces: list[str]) -> sources.Count:
        if any("good" in piece for piece in pieces):
            raise BrokenError
        return count(pieces)

    monkeypatch.setattr(sources, "count", broken)


def break_in_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pieces: list[str]) -> sources.Count:
        raise BrokenError

    monkeypatch.setattr(sources, "count", broken)


def break_in_last_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Totals, part: sources.Count) -> None:
        raise BrokenError

    monkeypatch.setattr(Totals, "add", broken)


@both_kinds
@pytest.mark.parametrize("maxsize", [1, 512])
@pytest.mark.parametrize("break_it", [break_in_reader, break_in_worker, break_in_all_workers, break_in_last_stage])
def test_an_error_in_a_stage_ends_the_run_with_that_error(
    tree: Path,
    kind: str,
    maxsize: int,
    break_it: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch)
    before = set(threading.enumerate())
    with pytest.raises(BrokenError):
        run(tree, kind, maxsize=maxsize, readers=3, workers=3)
    left = [
        thread for thread in set(threading.enumerate()) - before if thread.name.startswith(("reader-", "worker-", "pipeline ", "sampler"))
    ]
    assert left == []


@both_kinds
@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_an_error_while_watching_ends_the_run_too(tree: Path, kind: str, error: type[BaseException]) -> None:
    def watch(sample: Sample) -> None:
        raise error

    with pytest.raises(error):
        run(tree, kind, watch, maxsize=2)


def test_a_queue_that_is_full_while_the_last_stage_is_busy_is_seen_to_be_full(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand too."""
    seen = threading.Event()
    add = Totals.add

    def busy(self: Totals, part: sources.Count) -> None:
        seen.wait(helpers.PATIENCE / 3 if not late else 0)
        late.append(part)
        add(self, part)

    def watch(sample: Sample) -> None:
        if sample.held[1] == 1:
            seen.set()

    late: list[sources.Count] = []
    monkeypatch.setattr(Totals, "add", busy)
    run(tree, "stdlib", watch, maxsize=7)
    assert seen.is_set()


# The command.


def command(tree: Path, kind: str, source: str, file: Path) -> dict[str, object]:
    options = ["--queue", kind, "--source", source, "--no-progress", "--maxsize", "64", "--json", str(file)]
    assert _cli.main(["demo", str(tree), *options]) == 0
    return json.loads(file.read_text())


def test_both_kinds_write_the_identical_result(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("json")
    runs = {(kind, source): command(tree, kind, source, folder / "figures.json") for kind in KINDS for source in SOURCES}
    result = runs["sluicegate", "sluicegate"]["result"]
    assert all(run["result"] == result for run in runs.values())
    assert isinstance(result, dict)
    assert result["files"] == 14
    assert result["top"][:2] == [["other", 3000], ["value", 3000]]
    printed = capsys.readouterr().out
    assert "14 files (3 with bytes that had to be replaced)" in printed
    assert "peak memory" in printed


def test_json_on_the_standard_output_is_alone_there(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["demo", str(tree), "--json", "-"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["result"]["files"] == 14
    assert "most frequent identifiers" in printed.err


@pytest.mark.parametrize(
    "arguments", [["--workers", "0"], ["--maxsize", "-1"], ["--queue", "fast"], ["--source", "c"], ["--slow", "-1"], ["no/such/path"]]
)
def test_bad_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["demo", *arguments])
    assert exit_.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


SAMPLE = Sample(seconds=1.0, held=(3, 2), files=5, lines=1234, state="lines 3/512, results 2/32")


def shown(screen: Screen) -> None:
    with screen.progress("files read", 14) as progress:
        watch = watcher(progress)
        assert watch is not None
        watch(SAMPLE)
        watch(SAMPLE)


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "EVERY", 0.0)
    file = io.StringIO()
    shown(Screen(file))
    assert file.getvalue() == 2 * "  5 of 14 files read, 1,234 lines counted; lines 3/512, results 2/32\n"
    monkeypatch.setattr(Progress, "EVERY", 1000.0)
    file = io.StringIO()
    shown(Screen(file))
    assert file.getvalue() == ""


def test_progress_is_a_bar_on_a_terminal_with_rich() -> None:
    pytest.importorskip("rich")
    file = io.StringIO()
    shown(RichScreen(file, force_terminal=True, width=150))
    assert "5/14" in file.getvalue()
    assert "1,234 lines counted; lines 3/512, results 2/32" in file.getvalue()


def test_without_plotext_the_report_is_text_and_says_what_is_missing(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_demo, "find_spec", lambda package: None)
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert _cli.main(["demo", str(tree)]) == 0
    printed = capsys.readouterr().out
    assert "pip install 'sluicegate[demo]'" in printed
    assert "every line read was counted" in printed
    assert printed.isascii()


def test_a_sentence_is_a_line_in_a_pipe(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["demo", str(tree)]) == 0
    assert any(line.startswith("14 files (3 with") and line.endswith(" distinct") for line in capsys.readouterr().out.splitlines())


def test_the_plot_keeps_every_peak() -> None:
    pytest.importorskip("plotext")
    from sluicegate._plot import plot, thin

    values = [0] * 1000
    values[777] = 9
    seconds = [i / 100 for i in range(1000)]
    columns, kept = thin(seconds, values, points=50)
    assert len(columns) == len(kept) <= 50
    assert (7.77, 9) in zip(columns, kept, strict=True)
    picture = plot(seconds, values, title="depth of x", bound=10, width=60)
    assert "depth of x" in picture
    assert "\x1b" not in picture
    assert max(map(len, picture.splitlines())) <= 60


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child")
@both_kinds
def test_ctrl_c_ends_the_program(kind: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "sluicegate", "demo", "--no-progress", "--queue", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    with child:
        assert child.stdout is not None
        assert "Python files under" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        try:
            printed, complaints = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, complaints, printed) == (130, "interrupted\n", "")
