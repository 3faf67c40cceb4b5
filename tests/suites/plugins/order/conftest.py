import pytest


@pytest.fixture(scope="session")
def seen():
    """What ran before in this process."""
    return []
