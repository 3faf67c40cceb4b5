"""The process: its signals, its identity as a slot, pytest's own script as what the suite sees, and `main`.

The adapter makes one pytest process a worker; its protocol is specified in docs/adapter-protocol.md. Its files are never
imported: bootstrap.py executes them in one namespace, this one last. They need Python 3.8 and pytest 7.4 or later.

Nothing in them may cost a passing test more than some microseconds, start a thread, raise a warning, or leave a file open.
"""

import faulthandler
import fcntl
import functools
import os
import signal
import sys
import sysconfig


def arm_signals():
    """SIGINT, even if the parent ignored it, and the stack dump, of a crash too: its signal and its descriptor.

    The signal is None where there is none to spare. Capturing does not move the descriptor.
    """
    first = getattr(signal, "SIGRTMIN", None)
    dump_signal = None if first is None else int(first) + 11
    dump_fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 64)
    faulthandler.enable(dump_fd)
    if dump_signal is not None:
        faulthandler.register(dump_signal, file=dump_fd, all_threads=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return dump_signal, dump_fd


def die_with_supervisor():
    """A process lives on for a moment when it has been killed. Tests that ran meanwhile would be blamed for its death."""
    supervisor, own, kill = os.getppid(), os.getpid(), os.kill

    @functools.wraps(kill)
    def kill_or_die(pid, number, /):
        kill(pid, number)
        if (pid, number) == (supervisor, signal.SIGKILL) and os.getpid() == own:
            leave(1)

    os.kill = kill_or_die


def pose_as_script(args):
    """Makes argv, path and `__main__` what they are when pytest's own script is run."""
    folders = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    scripts = [os.path.join(folder, "pytest") for folder in folders if folder]
    script = next(filter(os.path.isfile, scripts), scripts[0])
    sys.argv[:] = [script, *args]
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    names = vars(sys.modules["__main__"])
    for name in [name for name in names if not name.startswith("__")]:
        del names[name]
    if os.path.isfile(script):
        names["__file__"] = script


WITHOUT_PYTEST = (
    "hint: install it for that interpreter, in the image where tests run in one, or have [setup] make an environment "
    "with it on each executor: seagull docs environment has recipes"
)


def take_role(settings):
    os.environ["PYTEST_XDIST_TESTRUNUID"] = settings["run"]
    if settings.get("role") == "controller":
        # The executor may itself have been started by a worker.
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "SEAGULL_SLOT"):
            os.environ.pop(name, None)
        return Controller
    os.environ.update(
        PYTEST_XDIST_WORKER="gw{}".format(settings["slot"]),
        PYTEST_XDIST_WORKER_COUNT=str(settings["slots"]),
        SEAGULL_SLOT=str(settings["slot"]),
    )
    return Worker


def main(folder):
    dump_signal, dump_fd = arm_signals()
    die_with_supervisor()
    channel = Channel(folder + "/socket")
    settings, *commands = channel.receive(None)
    if settings["command"] != "configure":
        return 2
    role = take_role(settings)
    pose_as_script(settings["args"])
    worker = role(channel, settings, dump_signal, dump_fd)
    worker.obey(commands)
    code = 1
    try:
        if pytest is None:
            worker.trouble.broken(
                "pytest", "pytest cannot be imported: {}".format(import_error), sys.executable + "\n" + WITHOUT_PYTEST
            )
        else:
            code = int(pytest.main(settings["args"], plugins=[worker]))
    except BaseException as error:
        worker.trouble.exception("pytest", error)
        raise
    finally:
        worker.coverage.finish()
        worker.trouble.ended(code)
    return code


sys.exit(main(sys.argv[1]))
