#!/usr/bin/env python3
"""What a developer waits for: the first test, the verdict, an upload, the help.

    benches/waiting.py suites|crates|artifact|help [--rounds 5] [--suite NAME] [--only-first]

suites: from Enter to the first test and to the verdict, for a first and a second run of seagull, for plain pytest and
for pytest-xdist; the first test is when a plugin's hook is called in whichever process runs it. With --only-first each is
interrupted then, the runs before seagull's second ones too: so a suite of hours can be measured. crates: until the first
test is said to have ended and until the verdict, for cargo test, nextest (if it is there) and seagull, of what is built
already, without documentation tests, which nextest does not run. artifact: a run on a
scheduler's executor from a repository of 20,000 files, for the first time, unchanged, and with one file changed. help:
`seagull --help`. Each round does all once, in an order that rotates. Writes benches/results/waiting-*.md.
"""

import argparse
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import compatibility
import dispatch
import record
import suites

FILES, FILE_BYTES = 20_000, 2_000
PLUGIN = '''
"""Writes when the first test begins, in whichever process that is, to the file that FIRST names."""
import os, time, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    try:
        with open(os.environ["FIRST"], "x") as file:
            file.write(repr(time.time()))
    except FileExistsError:
        pass
'''


def start(command, suite, folder):
    """Starts a command of a suite, which writes to `folder / "first"` when the first test begins."""
    (folder / "first").unlink(missing_ok=True)
    own = {**suite.variables, "FIRST": str(folder / "first"), "PYTHONPATH": str(folder)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, "-p", "first_test"], cwd=suite.directory, env=own, **quiet)


def first_and_verdict(command, suite, folder, only_first):
    """Seconds from Enter to the first test, and to the end, if it is waited for."""
    first, began = folder / "first", time.time()
    with start(command, suite, folder) as process:
        while only_first and not (first.exists() and first.read_text()):
            assert process.poll() is None, command
            time.sleep(0.01)
        if only_first:
            process.send_signal(signal.SIGINT)
    measured = {"first test": float(first.read_text()) - began}
    return measured if only_first else {**measured, "verdict": time.time() - began}


def measure_suite(name, folder, only_first):
    """A function that measures one variant, by name."""
    suite = suites.lay_out(name, 2, folder, 0)
    (folder / "first_test.py").write_text(PLUGIN)
    [ours], [plain], [xdist] = (suite.commands[variant] for variant in ("seagull", "plain", "xdist-load"))
    state = ours.index("--state") + 1
    run = lambda command: first_and_verdict(command, suite, folder, only_first)
    known, fresh = ours[state], iter(range(10**6))
    run(ours)
    return {
        "plain": lambda: run(plain),
        "xdist -n 2": lambda: run(xdist),
        "seagull, first run": lambda: run([*ours[:state], f"{known}-{next(fresh)}", *ours[state + 1 :]]),
        "seagull, second run": lambda: run(ours),
    }


def measure_crate(specifier, folder):
    """As above, for a crate."""
    folder.mkdir()
    directory, variables = compatibility.crate(specifier, folder)
    ours = [record.SEAGULL, "run", "--output", "json", "--slots", "2"]
    commands = {"cargo test": (["cargo", "test", "--tests"], r"test .* \.\.\. ok")}
    if shutil.which("cargo-nextest"):
        commands["nextest"] = (["cargo", "nextest", "run"], r" *PASS ")
    commands["seagull, first run"] = commands["seagull, second run"] = (ours, r'.*"event":"test_finished"')
    known, fresh = folder / "state", iter(range(10**6))

    def run(name):
        command, first = commands[name]
        if name.startswith("seagull"):
            state = known if "second" in name else folder / f"state-{next(fresh)}"
            command = [*command, "--state", str(state), "--", "--tests"]
        began, seen = time.time(), None
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=directory, env=variables, text=True, **both) as process:
            for line in process.stdout:
                if seen is None and re.match(first, line):
                    seen = time.time()
        assert process.returncode == 0 and seen, name
        return {"first test": seen - began, "verdict": time.time() - began}

    for name in commands:
        run(name)
    return {name: lambda name=name: run(name) for name in commands}


def measure_artifact(folder, scheduler_url, token):
    """As above, for a run that sends its files to a scheduler."""
    suite = folder / "suite"
    suite.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=suite, check=True)
    source = random.Random(0)
    for number in range(FILES):
        path = suite / f"package_{number % 200}" / f"module_{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.randbytes(FILE_BYTES))
    (suite / "test_one.py").write_text("def test_one(): pass\n")
    venv = record.venv("empty", suites.TOOLS)
    command = [record.SEAGULL, "run", "--scheduler", scheduler_url, "--token-file", token, "--output", "plain"]
    command += ["--python", venv / "bin" / "python"]
    numbers = iter(range(10**6))

    def run(changed):
        for path in changed:
            path.write_bytes(source.randbytes(FILE_BYTES))
        began = time.time()
        subprocess.run(command, cwd=suite, check=True, stderr=subprocess.DEVNULL)
        return {"verdict": time.time() - began}

    everything = sorted(suite.glob("package_*/*"))
    run([])
    return {
        "all files new": lambda: run(everything),
        "unchanged": lambda: run([]),
        "one file changed": lambda: run([everything[next(numbers) % FILES]]),
    }


def in_turn(variants, rounds):
    """The figures of each variant, by its name, from rounds in an order that rotates."""
    measured = {name: [] for name in variants}
    for number in range(rounds):
        for name in record.rotated(list(variants), number):
            measured[name].append(variants[name]())
        print(number + 1, {name: values[-1] for name, values in measured.items()}, flush=True)
    return measured


def report(name, title, measured):
    figures = list(next(iter(measured.values()))[0])
    lines = [f"# {title}", "", *record.circumstances(), ""]
    lines += ["| | " + " | ".join(f"{figure}, s (spread)" for figure in figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for variant, values in measured.items():
        cells = [record.spread([value[figure] for value in values]) for figure in figures]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    record.write(name, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["suites", "crates", "artifact", "help"])
    parser.add_argument("--suite", choices=suites.SUITES, default="networkx", help="of suites: which")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-first", action="store_true", help="of suites: not to the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        if options.what == "suites":
            measured = in_turn(measure_suite(options.suite, folder, options.only_first), options.rounds)
            report(f"waiting-{options.suite}", f"{options.suite}: what one waits for, 2 slots", measured)
        elif options.what == "crates":
            for specifier in compatibility.RUST:
                name = specifier.partition("==")[0]
                measured = in_turn(measure_crate(specifier, folder / name), options.rounds)
                report(f"waiting-{name}", f"{name}: what one waits for, 2 slots", measured)
        elif options.what == "artifact":
            scheduler, url = dispatch.start_scheduler(folder / "scheduler")
            token = folder / "scheduler" / "token"
            connect = ["--scheduler", url, "--token-file", token, "--state", folder / "executor"]
            executor = subprocess.Popen([record.SEAGULL, "executor", *connect], stderr=subprocess.DEVNULL)
            try:
                measured = in_turn(measure_artifact(folder, url, token), options.rounds)
            finally:
                for process in (executor, scheduler):
                    process.terminate()
                    process.wait()
            report("waiting-artifact", f"a run with {FILES} files of {FILE_BYTES} bytes to send", measured)
        else:
            def show():
                began = time.time()
                subprocess.run([record.SEAGULL, "--help"], check=True, stdout=subprocess.DEVNULL)
                return {"all": time.time() - began}

            report("waiting-help", "seagull --help", in_turn({"seagull --help": show}, options.rounds))


if __name__ == "__main__":
    main()
