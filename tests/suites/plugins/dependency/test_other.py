import pytest


@pytest.mark.dependency(depends=["test_chain.py::test_whole", "test_chain.py::TestClass::test_c"], scope="session")
def test_across_files():
    pass


@pytest.mark.dependency(depends=["test_nowhere"])
def test_needs_what_there_is_not():
    pass
