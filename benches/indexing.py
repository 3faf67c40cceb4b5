#!/usr/bin/env python3
"""What an index elsewhere costs a run, and whether anything of it waits: as dispatch.py, without an index and with Elasticsearch.

    benches/indexing.py [--tests 100000] [--executors 2] [--slots 8] [--rounds 3] [--keep]

Rounds without and with an index take turns; the CPU time is that of scheduler, executors and client (their own threads, not the
workers) until the index has all. Then Elasticsearch stands still (SIGSTOP) from before a run is submitted until after
its verdict: of what is dispatched, acknowledged or decided meanwhile nothing can have waited for it. With --keep, writes
benches/results/indexing.md.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import dispatch
import record

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

    def ask(self, method, path):
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", method=method), timeout=60) as answer:
            return json.load(answer)

    def results(self, prefix):
        """How many there are; none that can be counted while their index is made."""
        try:
            self.ask("POST", f"{prefix}-*/_refresh")
            return self.ask("GET", f"{prefix}-results-*/_count").get("count", 0)
        except urllib.error.HTTPError:
            return 0

    @contextlib.contextmanager
    def standing_still(self):
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def measure(options, folder, index, prefix, around):
    """One round: microseconds of CPU a test until its verdict and until all is indexed, and the tests that got a verdict."""
    command = [record.SEAGULL, "scheduler", "--listen", "127.0.0.1:0", "--state", folder / "scheduler"]
    if index:
        command += ["--index", f"es+{index.url}/{prefix}?replicas=0"]
    log = open(folder / "log", "w")
    scheduler = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    processes = [scheduler]
    url = scheduler.stdout.readline().split()[-1]
    connect = ["--scheduler", url, "--token-file", folder / "scheduler" / "token"]
    suite = folder / "suite"
    suite.mkdir()
    (suite / "seagull.toml").write_text('[artifact]\nroot = "."\n')
    try:
        for number in range(options.executors):
            command = [record.SEAGULL, "executor", *connect, "--slots", str(options.slots)]
            command += ["--state", folder / f"executor-{number}"]
            processes.append(subprocess.Popen(command, stderr=log))
        time.sleep(2)
        spent = lambda: sum(dispatch.cpu_seconds(each.pid) for each in processes)
        before = spent()
        with around:
            command = [record.SEAGULL, "run", *connect, "--output", "plain", "--python", dispatch.WORKER, "--"]
            run = subprocess.Popen([*command, str(options.tests)], cwd=suite, stderr=log)
            _, status, usage = os.wait4(run.pid, 0)
            assert status == 0, f"the run ended with {os.waitstatus_to_exitcode(status)}: {(folder / 'log').read_text()}"
            client = usage.ru_utime + usage.ru_stime
            at_verdict = spent() - before + client
            listed = [record.SEAGULL, "runs", *connect, "--output", "json"]
            listed = subprocess.run(listed, cwd=suite, stdout=subprocess.PIPE, text=True, check=True).stdout
            decided = json.loads(listed.splitlines()[0])["counts"]["passed"]
        while index and index.results(prefix) < options.tests:
            time.sleep(1)
        micros = lambda seconds: seconds / options.tests * 1e6
        return micros(at_verdict), micros(spent() - before + client), decided
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
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
    _, _, decided = play(server, server.standing_still())
    growth = statistics.median((with_it[1] / without[1] - 1) * 100 for without, with_it in rounds)
    waited = options.tests - decided
    shape = f"{options.tests} tests, {options.executors} executors of {options.slots} slots, {options.rounds} rounds"
    lines = [f"# indexing: {shape}", "", *record.circumstances(), "", "| CPU µs a test | median (spread) |", "|---|---|"]
    for name, which in (("without an index elsewhere", 0), ("with Elasticsearch", 1)):
        for when, of in (("until the verdict", 0), ("until all is kept", 1)):
            lines.append(f"| {name}, {when} | {record.spread([each[which][of] for each in rounds], '.1f')} |")
    lines += ["", "| judged | | bound | met |", "|---|---|---|---|"]
    lines += [f"| tests that waited for an index that stands still | {waited} | 0 | {'no' if waited else 'yes'} |"]
    met = "yes" if growth <= BOUND else "no"
    lines += [f"| growth of our own CPU, % | {growth:.1f} | {BOUND:.0f} | {met} |"]
    record.write("indexing" if options.keep else None, lines)


if __name__ == "__main__":
    main()
