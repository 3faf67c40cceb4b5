import os
import signal


def test_before():
    pass


def test_raises_keyboard_interrupt():
    raise KeyboardInterrupt


def test_raises_system_exit():
    raise SystemExit(3)


def test_interrupts_itself():
    os.kill(os.getpid(), signal.SIGINT)


def test_terminates_itself():
    os.kill(os.getpid(), signal.SIGTERM)


def test_after():
    pass
