#!/usr/bin/env python3
"""What an index elsewhere costs a run, and whether anything of it waits: as dispatch.py, without an index and with Elasticsearch.

    benches/indexing.py [--tests 100000] [--executors 2] [--slots 8] [--rounds 3] [--pytest] [--keep]

Rounds without and with an index elsewhere take turns; the CPU time is that of scheduler, executors and client (their own threads,
not the workers) until the run is archived and all of it is in an index: the scheduler's own, or Elasticsearch. Then Elasticsearch
stands still (SIGSTOP) from before a run is submitted until after its verdict: of what is dispatched, acknowledged or decided
meanwhile nothing can have waited for it. With --pytest the tests are real ones that do nothing, and what is ours is also what
whole process trees take beyond pytest alone on the same files. With --keep, writes benches/results/indexing.md, or
indexing-pytest.md.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time

import dispatch
import record
import suites

BOUND = 5.0


class Elasticsearch:
    """A server of the benchmark's own, for as long as it runs."""

    def __init__(self):
        directory = record.TARGET / "elasticsearch"
        (directory / "bench").mkdir(parents=True, exist_ok=True)
        self.users = open(directory / "bench" / "users", "a")
        fcntl.flock(self.users, fcntl.LOCK_SH)
        subprocess.run([record.TOP / "tests" / "elasticsearch.sh", directory, "bench"], check=True)
        self.url = (directory / "bench" / "url").read_text().strip()
        self.pid = int((directory / "bench" / "pid").read_text())

    @contextlib.contextmanager
    def standing_still(self):
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def lay_out(options, folder):
    """A suite, the Python that runs it, what it is asked for, and seconds of CPU that pytest alone takes."""
    if options.pytest:
        suite = suites.lay_out("empty", options.slots, folder, options.tests)
        python = record.venv("empty", suites.TOOLS) / "bin" / "python"
        (plain,) = suite.commands["plain"]
        alone, _ = ended(subprocess.Popen(plain, cwd=suite.directory, env=suite.variables, stdout=subprocess.DEVNULL))
        laid_out = suite.directory, python, plain[1:], alone
    else:
        (folder / "suite").mkdir()
        laid_out = folder / "suite", dispatch.WORKER, [str(options.tests)], 0
    (laid_out[0] / "seagull.toml").write_text('[artifact]\nroot = "."\n')
    return laid_out


def ended(process):
    """Seconds of CPU of a process and of all below it, when it has ended, and how it has."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, process.returncode


def is_kept(state, index):
    """Whether the one run of a scheduler is archived, and indexed."""
    if not index:
        return any(state.glob("runs/*/stream.jsonl"))
    with contextlib.closing(sqlite3.connect(state / "index" / "cursors.sqlite")) as cursors:
        return cursors.execute("SELECT count(*) FROM cursors WHERE done").fetchone() == (1,)


def measure(options, folder, index, prefix, around):
    """One round: microseconds of CPU a test until its verdict and until all is kept, those of whole trees beyond pytest alone,
    and the tests that got a verdict."""
    suite, python, arguments, alone = lay_out(options, folder)
    state = folder / "scheduler"
    command = [record.SEAGULL, "scheduler", "--listen", "127.0.0.1:0", "--state", state]
    if index:
        command += ["--index", f"es+{index.url}/{prefix}?replicas=0"]
    log = open(folder / "log", "w")
    scheduler = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    processes = [scheduler]
    url = scheduler.stdout.readline().split()[-1]
    connect = ["--scheduler", url, "--token-file", state / "token"]
    try:
        for number in range(options.executors):
            command = [record.SEAGULL, "executor", *connect, "--slots", str(options.slots)]
            command += ["--state", folder / f"executor-{number}"]
            processes.append(subprocess.Popen(command, stderr=log))
        time.sleep(2)
        spent = lambda: sum(dispatch.cpu_seconds(each.pid) for each in processes)
        before = spent()
        with around:
            command = [record.SEAGULL, "run", *connect, "--output", "plain", "--python", python, "--", *arguments]
            client, status = ended(subprocess.Popen(command, cwd=suite, stderr=log, stdout=subprocess.DEVNULL))
            assert status == 0, f"the run ended with {status}: {(folder / 'log').read_text()}"
            at_verdict = spent() - before + client
            listed = [record.SEAGULL, "runs", *connect, "--output", "json"]
            listed = subprocess.run(listed, cwd=suite, stdout=subprocess.PIPE, text=True, check=True).stdout
            decided = json.loads(listed.splitlines()[0])["counts"]["passed"]
        while not is_kept(state, index):
            time.sleep(0.1)
        at_last = spent() - before + client
    finally:
        for process in reversed(processes):
            process.terminate()
        trees = sum(ended(process)[0] for process in processes)
    micros = lambda seconds: seconds / options.tests * 1e6
    return micros(at_verdict), micros(at_last), micros(trees + client - alone), decided


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pytest", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    server = Elasticsearch()
    number = 0

    def play(index, around=contextlib.nullcontext()):
        nonlocal number
        number += 1
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            figures = measure(options, pathlib.Path(folder), index, f"bench-{os.getpid()}-{number}", around)
            print([round(figure, 1) for figure in figures], flush=True)
            return figures

    rounds = []
    for turn in range(options.rounds):
        with_index = {which: play(server if which else None) for which in record.rotated([False, True], turn)}
        rounds.append((with_index[False], with_index[True]))
    *_, decided = play(server, server.standing_still())
    # Workers know of no index: what it adds is ours alone, which is less noise.
    whole = 2 if options.pytest else 1
    growth = statistics.median((with_it[1] - without[1]) / without[whole] * 100 for without, with_it in rounds)
    waited = options.tests - decided
    of = " of pytest" if options.pytest else ""
    shape = f"{options.tests} tests{of}, {options.executors} executors of {options.slots} slots, {options.rounds} rounds"
    lines = [f"# indexing: {shape}", "", *record.circumstances(), "", "| CPU µs a test | median (spread) |", "|---|---|"]
    for name, which in (("without an index elsewhere", 0), ("with Elasticsearch", 1)):
        for when, of in (("until the verdict", 0), ("until all is kept", 1)):
            lines.append(f"| {name}, {when} | {record.spread([each[which][of] for each in rounds], '.1f')} |")
    if options.pytest:
        whole = record.spread([without[whole] for without, _ in rounds], ".1f")
        lines.append(f"| without an index elsewhere, all processes beyond pytest alone | {whole} |")
    lines += ["", "| judged | | bound | met |", "|---|---|---|---|"]
    lines += [f"| tests that waited for an index that stands still | {waited} | 0 | {'no' if waited else 'yes'} |"]
    met = "yes" if growth <= BOUND else "no"
    lines += [f"| growth of our own CPU, % | {growth:.1f} | {BOUND:.0f} | {met} |"]
    record.write(("indexing-pytest" if options.pytest else "indexing") if options.keep else None, lines)


if __name__ == "__main__":
    main()
