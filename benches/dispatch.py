#!/usr/bin/env python3
"""What dispatch costs: tests that take no time, over a scheduler and two executors, with a scripted worker.

    benches/dispatch.py [--tests 250000] [--executors 2] [--slots 8] [--rounds 3]

Each round starts its own processes on loopback, and ends them. Per test: the CPU time of scheduler, executors and
client (their own threads, not the workers), and the bytes that went over the loopback interface, headers included;
run nothing else that talks there. Writes benches/results/dispatch.md.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

import record

WORKER = pathlib.Path(__file__).resolve().parent / "scripted_worker.py"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system seconds of a process's own threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def loopback_bytes():
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def start_scheduler(state):
    command = [record.SEAGULL, "scheduler", "--listen", "127.0.0.1:0", "--state", state]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def measure(options, folder):
    """One round: the figures by name."""
    scheduler, url = start_scheduler(folder / "scheduler")
    processes = {"scheduler": [scheduler], "executors": []}
    connect = ["--scheduler", url, "--token-file", folder / "scheduler" / "token"]
    suite = folder / "suite"
    suite.mkdir()
    (suite / "seagull.toml").write_text('[artifact]\nroot = "."\n')
    try:
        for number in range(options.executors):
            command = [record.SEAGULL, "executor", *connect, "--slots", str(options.slots)]
            command += ["--state", folder / f"executor-{number}"]
            processes["executors"].append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        time.sleep(2)
        before = {name: sum(cpu_seconds(each.pid) for each in group) for name, group in processes.items()}
        bytes_before, began = loopback_bytes(), time.monotonic()
        command = [record.SEAGULL, "run", *connect, "--output", "plain", "--python", WORKER, "--"]
        run = subprocess.Popen([*command, str(options.tests)], cwd=suite, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(run.pid, 0)
        wall, sent = time.monotonic() - began, loopback_bytes() - bytes_before
        assert status == 0, f"the run ended with {os.waitstatus_to_exitcode(status)}"
        figures = {"tests a second": options.tests / wall, "bytes a test": sent / options.tests}
        for name, group in processes.items():
            spent = sum(cpu_seconds(each.pid) for each in group) - before[name]
            figures[f"{name}: CPU µs a test"] = spent / options.tests * 1e6
            figures[f"{name}: peak MB of one"] = max(record.peak_mb(each.pid) for each in group)
        figures["client: CPU µs a test"] = (usage.ru_utime + usage.ru_stime) / options.tests * 1e6
        figures["client: peak MB"] = usage.ru_maxrss / 1024
        return figures
    finally:
        for process in [*processes["executors"], scheduler]:
            process.terminate()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=250_000)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            rounds.append(measure(options, pathlib.Path(folder)))
            print({name: round(value, 1) for name, value in rounds[-1].items()}, flush=True)
    shape = f"{options.tests} tests, {options.executors} executors of {options.slots} slots, {options.rounds} rounds"
    lines = [f"# dispatch: {shape}", "", *record.circumstances(), "", "| | median (spread) |", "|---|---|"]
    for name in rounds[0]:
        values = [figures[name] for figures in rounds]
        lines.append(f"| {name} | {record.spread(values, '.1f')} |")
    record.write("dispatch", lines)


if __name__ == "__main__":
    main()
