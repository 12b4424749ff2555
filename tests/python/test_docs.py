"""Every code block of README and docs is run, or checked in the way its language allows.

Python blocks are executed, top to bottom, one name space a page. Shell blocks cannot be (they install and build), so each of their
lines must be of a known kind and true: a target the Makefile has, an extra the package has, a command that parses. What the guide's
pictures show is drawn once more, to see that it can be.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*.md"))]
LANGUAGES = {"python", "sh", "text", "rust"}  # "text": output and diagrams; "rust": excerpts of the core, whose own doctests run


def check_shell(example: Example) -> None:
    for line in str(example.parsed).splitlines():
        words = shlex.split(line, comments=True)
        if words:
            check_command(words)


def check_command(words: list[str]) -> None:
    match words:
        case ["make", target, *_]:
            makefile = ROOT / "Makefile"
            if makefile.exists():  # it is not where a wheel is tested
                assert re.search(rf"^{re.escape(target)}:", makefile.read_text("utf-8"), re.MULTILINE), f"no target {target!r}"
        case ["pip", "install", requirement]:
            known = re.fullmatch(r"(?:sluicegate|\.)(?:\[(\w+)\])?", requirement)
            assert known, requirement
            extra = known[1]
            assert extra is None or extra in importlib.metadata.metadata("sluicegate").get_all("Provides-Extra", [])
        case ["python", "-m", "sluicegate", *_] | ["python", _, *_]:
            command = [sys.executable, *words[1:], "--help"]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        case _:
            raise AssertionError(f"a shell line of no known kind: {shlex.join(words)}")


SYBIL = Sybil([PythonCodeBlockParser(), CodeBlockParser("sh", check_shell), SkipParser()])


def parse(page: Path) -> Document:
    return SYBIL.parse(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_blocks_hold(page: Path) -> None:
    for example in parse(page).examples():
        try:
            example.evaluate()
        except BaseException as error:
            if sys.version_info >= (3, 11):
                error.add_note(f"in the code block at {page.relative_to(ROOT)}:{example.line}")
            raise


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_blocks_say_their_language(page: Path) -> None:
    opening = re.findall(r"^```(\w*)\n.*?^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert set(opening) <= LANGUAGES


def test_a_block_that_fails_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\ntext\n\n```python\nassert x == 2\n```\n", "utf-8")
    good, bad = parse(page).examples()
    good.evaluate()
    with pytest.raises(AssertionError):
        bad.evaluate()


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if (ROOT / "src").is_dir() or target.startswith("docs/guide"):  # a wheel is tested beside its docs alone
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/plots/*.py")), ids=lambda script: script.stem)
def test_pictures_can_be_drawn(script: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = [tmp_path / "once.svg", tmp_path / "again.svg"]
    for file in drawn:
        subprocess.run([sys.executable, str(script), str(file)], check=True, capture_output=True, timeout=60)
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    kept = ROOT / "docs" / "guide" / "img" / f"{script.stem}.svg"
    assert drawn[0].stat().st_size < 60_000 > kept.stat().st_size
