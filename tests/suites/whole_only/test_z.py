import pytest
import registry


@pytest.mark.parametrize("name", list(registry.names))
def test_name(name):
    pass
