import pytest


@pytest.fixture(scope="session", autouse=True)
def database():
    yield
    raise RuntimeError("the database would not stop")
