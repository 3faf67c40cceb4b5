import os
import signal
import subprocess

import pytest


@pytest.fixture(scope="session")
def service():
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield child
    child.kill()
    child.wait()
    open(f"session-torn-down-{os.environ['SEAGULL_SLOT']}", "w").close()


@pytest.fixture
def resource():
    yield
    open(f"test-torn-down-{os.environ['SEAGULL_SLOT']}", "w").close()
