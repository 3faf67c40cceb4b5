#!/usr/bin/env python3
"""How soon a test runs again whose executor was killed: two executors of one slot, and a suite of one test.

    benches/retry.py [--rounds 10]

The executor that runs the test gets a SIGKILL. What passes until its file is collected elsewhere is the time after which an
executor whose connection closed is lost, and what it takes to give the test out and to start a worker. The collection, which
takes a second here, is apart. Writes benches/results/retry.md.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import dispatch
import record

CLOSED = 3.0
"""So many seconds after its connection closed an executor is lost."""
BOUND = CLOSED + 1
SUITE = """\
import os, time

def note(what):
    with open({log!r}, "a") as log:
        log.write(f"{{what}} {{os.getpid()}} {{time.time()}}\\n")

note("collecting")
time.sleep(1)

def test_it():
    note("running")
    time.sleep(5)
"""


def notes(log):
    """What the suite did: what, by which process, and when."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(what, int(pid), float(at)) for what, pid, at in lines]


def runs(log, count):
    """Waits until the test has begun so often; all notes by then."""
    while True:
        noted = notes(log)
        if sum(what == "running" for what, _, _ in noted) >= count:
            return noted
        time.sleep(0.01)


def ancestors(pid):
    while pid > 1:
        yield pid
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def measure(folder, python):
    """Seconds from the kill to the collection, and from there to the test."""
    scheduler, url = dispatch.start_scheduler(folder / "scheduler")
    connect = ["--scheduler", url, "--token-file", folder / "scheduler" / "token"]
    suite, log = folder / "suite", folder / "log"
    suite.mkdir()
    (suite / "seagull.toml").write_text('[artifact]\nroot = "."\n')
    (suite / "test_it.py").write_text(SUITE.format(log=str(log)))
    started = [scheduler]
    try:
        for number in range(2):
            command = [record.SEAGULL, "executor", *connect, "--slots", "1", "--state", folder / f"executor-{number}"]
            started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        command = [record.SEAGULL, "run", *connect, "--output", "plain", "--python", python]
        run = subprocess.Popen(command, cwd=suite, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(run)
        _, pid, _ = runs(log, 1)[-1]
        executors = {each.pid for each in started[1:3]}
        executor = next(each for each in ancestors(pid) if each in executors)
        os.kill(executor, signal.SIGKILL)
        killed = time.time()
        noted = runs(log, 2)
        collecting = next((at for what, _, at in noted if what == "collecting" and at > killed), noted[-1][2])
        assert run.wait() == 0, "the run did not pass"
        return collecting - killed, noted[-1][2] - collecting
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    python = record.venv("retry", ["pytest"]) / "bin" / "python"
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=record.TARGET) as folder:
            rounds.append(measure(pathlib.Path(folder), python))
    lost, collected = zip(*rounds)
    lines = [f"# retry: the executor that runs a test is killed, {options.rounds} rounds", "", *record.circumstances(), ""]
    lines += ["| seconds | median (spread) | bound | met |", "|---|---|---|---|"]
    met = "yes" if max(lost) < BOUND else "no"
    lines += [f"| from SIGKILL until its file is collected elsewhere | {record.spread(lost, '.2f')} | {BOUND} | {met} |"]
    lines += [f"| until the test runs, after a collection of one second | {record.spread(collected, '.2f')} | | |"]
    record.write("retry", lines)


if __name__ == "__main__":
    main()
