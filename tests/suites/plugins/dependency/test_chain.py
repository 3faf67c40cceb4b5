import time

import pytest


@pytest.mark.dependency
def test_create():
    time.sleep(0.2)


@pytest.mark.dependency(depends=["test_create"])
def test_change():
    time.sleep(0.2)


@pytest.mark.dependency(name="broken")
def test_broken():
    assert False


@pytest.mark.dependency(depends=["broken"])
def test_needs_what_is_broken():
    pass


@pytest.mark.parametrize("n", [pytest.param(n, marks=pytest.mark.dependency) for n in range(2)])
def test_part(n):
    time.sleep(0.1)


@pytest.mark.dependency(depends=["test_part[0]", "test_part[1]", "test_change"])
def test_whole():
    pass


class TestClass:
    @pytest.mark.dependency
    def test_a(self):
        pass

    @pytest.mark.dependency(depends=["test_a"], scope="class")
    def test_b(self):
        pass

    @pytest.mark.dependency(depends=["TestClass::test_b"])
    def test_c(self):
        pass


@pytest.mark.parametrize("n", range(20))
def test_unrelated(n):
    time.sleep(0.05)
