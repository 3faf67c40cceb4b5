"""What the benchmarks share: the binary they measure, and how a result is kept, with machine and commit."""

import os
import pathlib
import platform
import statistics
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
SEAGULL = os.environ.get("SEAGULL", str(TARGET / "debug" / "seagull"))
"""The binary; the variable SEAGULL names another."""


def venv(name, packages):
    """A virtual environment of that name with these packages."""
    directory = TARGET / "bench-venvs" / name
    subprocess.run([TOP / "deploy" / "venv.sh", directory, *packages], check=True)
    return directory


def circumstances():
    """When, on what and of which commit a result is."""
    commit = git("describe", "--always") + ("-dirty" if git("status", "--porcelain", ".", ":!benches/results") else "")
    load = f"load at the end {os.getloadavg()[0]:.1f}"
    profile = "release build" if pathlib.Path(SEAGULL).resolve().parent.name == "release" else "dev build"
    return [
        f"{time.strftime('%Y-%m-%d')}, commit {commit} ({profile}), {os.cpu_count()} cores ({processor()}), {load},",
        f"CPython {platform.python_version()}.",
    ]


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=TOP, capture_output=True, text=True).stdout.strip()


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_mb(pid):
    """The most that a process had resident so far."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def rotated(names, number):
    """The order of a round: each of the names comes first in turn."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def spread(values, form=".3f"):
    """`median (least-most)`"""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def keep(name, lines):
    """Writes a result to benches/results/NAME.md."""
    results = TOP / "benches" / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.md").write_text("\n".join(lines) + "\n")


def write(name, lines):
    """Shows a result, and keeps it, if it has a name."""
    print("\n".join(lines))
    if name is not None:
        keep(name, lines)
