import pytest

from shop.early import limit


@pytest.fixture(scope="session", autouse=True)
def most():
    yield limit()
    limit(down=True)
