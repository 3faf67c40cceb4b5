"""The public suites, and the commands that run them: plain pytest, seagull, pytest-xdist and pytest-split."""

import os
import pathlib
import subprocess
import tarfile
from typing import NamedTuple

import record

TOOLS = ["pytest==9.2.0", "pytest-xdist==3.8.0", "pytest-split==0.11.0"]
PANDAS = ["pandas==3.1.1", "hypothesis==6.170.17"]
SUITES = {
    # name: (packages, sdist to unpack, pytest arguments)
    "networkx": (["networkx==3.6.1", "numpy==2.4.6"], None, ["--pyargs", "networkx"]),
    "jinja2": (["jinja2==3.1.6", "trio==0.35.0"], "jinja2==3.1.6", ["tests"]),
    "attrs": (["attrs==26.1.0", "hypothesis==6.170.17", "cloudpickle==3.1.3"], "attrs==26.1.0", ["tests"]),
    "pandas-series": (PANDAS, None, ["--pyargs", "pandas.tests.series"]),
    "pandas-frame": (PANDAS, None, ["--pyargs", "pandas.tests.frame"]),
    "pandas": ([*PANDAS, "pyarrow==26.0.1"], None, ["--pyargs", "pandas"]),
    "empty": ([], None, []),
}
QUIET = ["-q", "--tb=no", "-o", "addopts=", "-p", "no:cacheprovider"]
EMPTY = "import pytest\n@pytest.mark.parametrize('x', range(1000))\ndef test_empty(x): pass\n"


class Suite(NamedTuple):
    """A suite that can be run: where, with which variables, and each variant's commands, run side by side."""

    directory: pathlib.Path
    variables: dict
    commands: dict


def lay_out(name, slots, folder, tests):
    """A suite in a folder of its own; the empty one has so many tests."""
    packages, sdist, arguments = SUITES[name]
    venv = record.venv(name, [*TOOLS, *packages])
    directory, state = folder / "suite", folder / "state"
    for made in (directory, state):
        made.mkdir(parents=True)
    if sdist:
        unpack(fetch(venv, sdist, folder), directory)
    else:
        (directory / "pytest.ini").write_text("[pytest]\n")
    if name == "empty":
        for number in range(tests // 1000):
            (directory / f"test_{number}.py").write_text(EMPTY)
    return Suite(directory, variables(venv), commands(name, venv / "bin" / "pytest", arguments, slots, state))


def fetch(venv, sdist, folder):
    """A project's source archive, in a folder."""
    pip = [venv / "bin" / "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder]
    subprocess.run([*pip, sdist], check=True)
    return next(folder.glob("*.tar.gz"))


def unpack(archive, directory):
    """Without the folder that everything in it is in."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name:
                tar.extract(member, directory, filter="data")


def variables(venv):
    """The suite's interpreter, and one thread for its numerics."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    return {**os.environ, **threads, "VIRTUAL_ENV": str(venv)}


def commands(name, pytest, arguments, slots, state):
    plain = [str(pytest), "-p", "no:xdist", "-p", "no:pytest_split", *QUIET, *arguments]
    xdist = [str(pytest), "-p", "no:pytest_split", "-n", str(slots), *QUIET, *arguments]
    split = [str(pytest), "-p", "no:xdist", *QUIET, "--splits", str(slots)]
    split += ["--durations-path", str(state / "split.json")]
    ours = [record.SEAGULL, "run", "--slots", str(slots), "--state", str(state / "seagull")]
    ours += ["--output", "plain", "--project", name, "--"]
    ours += ["-p", "no:xdist", "-p", "no:pytest_split", *QUIET, *arguments]
    return {
        "plain": [plain],
        "seagull": [ours],
        "xdist-load": [[*xdist, "--dist", "load"]],
        "xdist-loadfile": [[*xdist, "--dist", "loadfile"]],
        "xdist-worksteal": [[*xdist, "--dist", "worksteal"]],
        "split": [[*split, "--group", str(group + 1), *arguments] for group in range(slots)],
        # Collection alone: a selection that matches nothing runs nothing.
        "collect-only": [[*plain, "--collect-only"]],
        "discover": [[*ours[:2], "--select", "nothing/matches/this", *ours[2:]]],
        # What split knows of the tests, as seagull does from an earlier run.
        "learn-split": [[*split, "--store-durations", "--group", "1", *arguments]],
    }
