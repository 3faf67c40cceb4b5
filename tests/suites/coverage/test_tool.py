import subprocess
import sys
import time


def test_in_a_process():
    time.sleep(1)
    output = subprocess.check_output([sys.executable, "-m", "shop.tool", "twice"])
    assert output.split() == [b"twicetwice"]
