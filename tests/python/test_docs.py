"""Every code block of README and docs is run, or checked in the way its language allows.

Python blocks are executed, top to bottom, one name space a page. Shell blocks cannot be (they install and build), so each of their
lines must be of a known kind and true: a target the Makefile has, an extra the package has, a command that parses. What the guide's
pictures show is drawn once more, to see that it can be.
"""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import shlex
import subprocess
import sys
import unittest
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

import sluicegate

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*.md"))]
# "text": output and diagrams; "mermaid": diagrams that are drawn; "rust": excerpts of the core, whose own doctests run
LANGUAGES = {"python", "sh", "text", "mermaid", "rust"}


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
    run_blocks(page)


def run_blocks(page: Path) -> None:
    """Run the blocks of a page. One for which a package is missing is left out; if nothing is left, the test is skipped."""
    document = parse(page)
    document.namespace["__name__"] = "__main__"  # as in a program: Django asks a view for its module
    ran, skipped = 0, []
    for example in document.examples():
        try:
            example.evaluate()
            ran += isinstance(example.parsed, str)  # and not the comment that says what to leave out
        except unittest.SkipTest as error:
            skipped.append(str(error))
        except BaseException as error:
            if sys.version_info >= (3, 11):
                error.add_note(f"in the code block at {page}:{example.line}")
            raise
    if skipped and not ran:
        pytest.skip("; ".join(skipped))


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


def test_a_block_whose_package_is_missing_is_left_out_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    missing = '<!-- skip: next if(True, reason="a package is not installed") -->\n\n```python\nassert False\n```\n'
    page.write_text(missing, "utf-8")
    with pytest.raises(pytest.skip.Exception, match="a package is not installed"):
        run_blocks(page)
    page.write_text(missing + "\n```python\nx = 1\n```\n", "utf-8")
    run_blocks(page)
    page.write_text(missing + "\n```python\nassert not 'run'\n```\n", "utf-8")
    with pytest.raises(AssertionError):
        run_blocks(page)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if (ROOT / "src").is_dir() or target.startswith("docs/guide"):  # a wheel is tested beside its docs alone
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_exported_name_is_on_a_page() -> None:
    text = "".join(page.read_text("utf-8") for page in [ROOT / "README.md", *ROOT.glob("docs/guide/*.md")])
    missing = [name for name in sluicegate.__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/plots/*.py")), ids=lambda script: script.stem)
def test_pictures_can_be_drawn(script: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = [tmp_path / "once.svg", tmp_path / "again.svg"]
    for file in drawn:
        subprocess.run([sys.executable, str(script), str(file)], check=True, capture_output=True, timeout=60)
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    kept = ROOT / "docs" / "guide" / "img" / f"{script.stem}.svg"
    assert drawn[0].stat().st_size < 60_000 > kept.stat().st_size


def test_a_published_readme_links_to_the_repository() -> None:
    """On a package index every link is absolute, and the package says where its repository is."""
    script = ROOT / ".ci/published.py"
    if not script.exists() or "[project.urls]" in (ROOT / "pyproject.toml").read_text(encoding="utf-8"):
        pytest.skip("a wheel is tested without the script, and a release has run it already")
    published = runpy.run_path(str(script))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    address = "https://example.org/us/sluicegate"
    page = published["absolute"](text, address, "v1.2.3")
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert len(targets) > 20
    assert all(target.startswith(("https://", "#")) for target in targets)
    ours = [target for target in targets if target.startswith(address)]
    assert f"{address}/blob/v1.2.3/docs/guide/queues.md" in ours
    assert f"{address}/tree/v1.2.3/examples" in ours
    for target in ours:
        assert (ROOT / target.split("/v1.2.3/")[1].partition("#")[0]).exists(), target
    project = published["with_urls"]((ROOT / "pyproject.toml").read_text(encoding="utf-8"), address, "v1.2.3")
    assert f'Repository = "{address}"' in project
    if sys.version_info >= (3, 11):
        import tomllib

        assert tomllib.loads(project)["project"]["urls"]["Changelog"] == f"{address}/blob/v1.2.3/CHANGELOG.md"
