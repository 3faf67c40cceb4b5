import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule


@given(st.lists(st.integers()))
def test_holds(numbers):
    assert sorted(sorted(numbers)) == sorted(numbers)


@given(st.integers())
def test_does_not_hold(number):
    assert number < 100


@given(st.integers())
@example(7)
def test_fails_by_example(number):
    assert number != 7


@given(st.integers())
def test_assumes_too_much(number):
    assume(False)


@given(st.text())
def test_takes_a_fixture(tmp_path_factory, text):
    assert isinstance(text, str)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(0, 3))
def test_function_scoped_fixture(tmp_path, n):
    assert tmp_path.exists()


@given(n=st.integers(0, 3))
def test_refused_fixture(tmp_path, n):
    pass


@pytest.mark.parametrize("limit", [10, 1000])
@given(n=st.integers(0, 100))
def test_parametrised(limit, n):
    assert n < limit


class Counter(RuleBasedStateMachine):
    count = 0

    @rule(by=st.integers(1, 3))
    def add(self, by):
        self.count += by

    @invariant()
    def small(self):
        assert self.count < 5


TestCounter = Counter.TestCase
