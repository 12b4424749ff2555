"""`python -m sluicegate`: what it says without a command, and when something is missing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sluicegate
from sluicegate import _cli, _demo, _screen, _size
from sluicegate._bench import measure

# Each command with what it cannot do without.
COMMANDS = {"demo": ["demo"], "bench": ["bench"], "size": ["size", "--arrival", "2/s", "--service", "1/s"]}

each_command = pytest.mark.parametrize("command", COMMANDS)


def test_these_are_all() -> None:
    assert set(_cli.COMMANDS) == set(COMMANDS)


def test_without_a_command_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m sluicegate")
    for command in COMMANDS:
        assert command in printed


def test_python_m_sluicegate_is_that_command_line() -> None:
    child = subprocess.run([sys.executable, "-m", "sluicegate"], capture_output=True, text=True, timeout=60, check=False)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith("usage: python -m sluicegate")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"sluicegate {sluicegate.__version__}\n"


@each_command
def test_each_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        _cli.main([command, "--help"])
    assert exit_.value.code == 0
    assert "--json FILE" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["irrigate"])
    assert exit_.value.code == 2
    assert "irrigate" in capsys.readouterr().err


def finding_all_but(*absent: str) -> Callable[[str], object]:
    return lambda package: None if package in absent else object()


def test_a_missing_extra_is_named_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(_cli, "find_spec", finding_all_but("matplotlib"))
    assert _cli.main(["bench", "--plot", "x.svg"]) == 2
    assert capsys.readouterr().err == "sluicegate bench needs matplotlib: pip install 'sluicegate[plot]'\n"


def test_no_command_needs_anything_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for module in (_cli, _screen, measure, _demo, _size):
        monkeypatch.setattr(module, "find_spec", lambda package: None)
    for package in ("rich", "plotext", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    (tmp_path / "one.py").write_text("value = other\n")
    assert _cli.main(["bench", "--list"]) == 0
    assert _cli.main(["bench", "--quick", "--only", "simple"]) == 0
    assert _cli.main(["demo", str(tmp_path)]) == 0
    assert _cli.main(COMMANDS["size"]) == 0
    printed = capsys.readouterr().out
    assert "queue.SimpleQueue" in printed
    assert "every line read was counted" in printed
    assert "3 workers can keep up" in printed


@each_command
def test_a_file_that_cannot_be_written_is_told_before_the_run(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setattr(_cli, "find_spec", finding_all_but())
    monkeypatch.delattr(_cli.COMMANDS[command], "main")  # it must not come to that
    assert _cli.main([*COMMANDS[command], "--json", f"{tmp_path}/no/such/folder/x.json"]) == 1
    assert capsys.readouterr().err.startswith(f"sluicegate {command}: [Errno 2]")


@each_command
def test_ctrl_c_ends_with_130(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "find_spec", finding_all_but())
    monkeypatch.setattr(_cli.COMMANDS[command], "main", interrupted)
    assert _cli.main(COMMANDS[command]) == 130
    assert capsys.readouterr().err == "interrupted\n"
