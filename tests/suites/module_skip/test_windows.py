import pytest

pytest.skip("needs Windows", allow_module_level=True)


def test_registry():
    assert False
