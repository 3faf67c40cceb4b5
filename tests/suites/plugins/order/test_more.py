import pytest


@pytest.mark.order(2)
def test_second(seen):
    assert seen == ["first"]
    seen.append("second")


@pytest.mark.order(after="TestStore::test_fill")
def test_read(stored):
    assert stored == ["filled"]


@pytest.fixture(scope="session")
def stored():
    return []


class TestStore:
    def test_fill(self, stored):
        stored.append("filled")


@pytest.mark.order(before="test_uses_it")
def test_makes_it(stored):
    stored.append("made")


def test_uses_it(stored):
    assert "made" in stored
