#!/usr/bin/env python3
"""Runs other projects' tests twice, with the standard library's queues and with sluicegate's in their place, and compares the results.

    run.py [--work FOLDER] [PROJECT ...]

The projects and the tests are in projects.toml. Their source distributions are fetched from the package index, unpacked in the working
folder, and tested in a virtual environment of their own. A test that passes with the standard library's queues and does not pass with
ours is tried again, three times with each: only if ours still fails more often is it reported. The exit status is the number of such
tests, at most 100. It needs Python 3.11.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import tomllib

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "python"
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
LIMIT = 600.0  # seconds for one run of a project's tests


@dataclass
class Project:
    """One project, and how its tests are run."""

    name: str
    project: str = ""
    version: str = ""
    needs: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    differ: dict[str, str] = field(default_factory=dict)

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return (self.project or self.name) + (f"=={self.version}" if self.version else "")


def fetch(project: Project, work: Path) -> Path:
    """The unpacked source distribution, with what its tests need and it comes without."""
    folder = work / project.name / "source"
    if not folder.exists():
        download = work / project.name / "download"
        name = project.project or project.name
        subprocess.run(
            [sys.executable, *PIP, "download", "--no-deps", "--no-binary", name, "--dest", str(download), project.requirement], check=True
        )
        (archive,) = download.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(work / project.name / "unpacked", filter="data")
        (unpacked,) = (work / project.name / "unpacked").iterdir()
        unpacked.rename(folder)
    (folder.parent / "pytest.ini").touch()  # for projects without a configuration: pytest would go on looking in our own folders
    missing = HERE / "missing" / project.name
    if missing.exists():
        shutil.copytree(missing, folder, dirs_exist_ok=True)
    return folder


def interpreter(project: Project, work: Path) -> Path:
    """The interpreter of a virtual environment that has the project and what its tests need."""
    python, installed = work / project.name / "venv/bin/python", work / project.name / "installed"
    wanted = ["pytest", *project.needs, str(work / project.name / "source")]
    if not installed.exists() or installed.read_text(encoding="utf-8") != repr(wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(python.parent.parent)], check=True)
        subprocess.run([str(python), *PIP, "install", "--prefer-binary", *wanted], check=True)
        installed.write_text(repr(wanted), encoding="utf-8")
    return python


def results(project: Project, work: Path, *, ours: bool, only: list[str] | None = None) -> dict[str, str]:
    """How each test ended: passed, failed or skipped."""
    source, python = fetch(project, work), interpreter(project, work)
    report = work / project.name / f"{'ours' if ours else 'theirs'}.xml"
    report.unlink(missing_ok=True)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE), str(PACKAGE)]), SLUICEGATE_AS_QUEUE="1" if ours else "")
    tests = only if only is not None else project.tests
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *tests]
    with (work / project.name / f"{'ours' if ours else 'theirs'}.log").open("w") as log:
        try:
            subprocess.run(command, cwd=source, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            print(f"   {project.name}: stopped after {LIMIT:.0f} s, see {log.name}")
    if not report.exists():
        return {}
    ended: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        ended[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return ended


def worse(project: Project, work: Path) -> list[str]:
    """The tests that pass with the standard library's queues alone."""
    theirs, ours = results(project, work, ours=False), results(project, work, ours=True)
    passed = [sum(outcome == "passed" for outcome in each.values()) for each in (theirs, ours)]
    suspects = [
        test for test, outcome in theirs.items() if outcome == "passed" and ours.get(test) != "passed" and test not in project.differ
    ]
    if not theirs or not passed[0]:
        print(f"{project.name}: no test passed with the standard library's queues, see {work / project.name / 'theirs.log'}")
        return [f"{project.name}: nothing ran"]
    if suspects:  # a test that fails by chance is not a difference
        again = [results(project, work, ours=which) for which in (False, True) * 3]
        failures = {test: [sum(run.get(test) != "passed" for run in again[which::2]) for which in (0, 1)] for test in suspects}
        suspects = [test for test, (with_theirs, with_ours) in failures.items() if with_ours > with_theirs]
    print(f"{project.name} {project.version}: {passed[0]} passed with queue's classes, {passed[1]} with ours, of {len(theirs)}")
    for test in suspects:
        print(f"   fails only with ours: {test}")
    return suspects


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help="default: all")
    parser.add_argument("--work", type=Path, default=Path("target/users"), help="where the projects are unpacked; default: %(default)s")
    arguments = parser.parse_args()
    table = tomllib.loads((HERE / "projects.toml").read_text(encoding="utf-8"))
    projects = [Project(name=name, **about) for name, about in table.items()]
    known = {project.name for project in projects}
    if unknown := set(arguments.projects) - known:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    wanted = [project for project in projects if not arguments.projects or project.name in arguments.projects]
    return min(100, sum(len(worse(project, arguments.work.resolve())) for project in wanted))


if __name__ == "__main__":
    sys.exit(main())
