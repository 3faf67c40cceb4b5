import os


def test_directory():
    assert os.path.basename(os.getcwd()) == "deep"
