import asyncio

import pytest


@pytest.fixture
async def opened():
    await asyncio.sleep(0)
    yield asyncio.get_running_loop()
    await asyncio.sleep(0)


async def test_fixture_in_the_same_loop(opened):
    assert opened is asyncio.get_running_loop()


async def test_fails():
    await asyncio.sleep(0)
    assert False


async def test_raises_in_a_task():
    async def broken():
        raise OSError("in a task")

    await asyncio.create_task(broken())


async def test_too_long():
    async with asyncio.timeout(0.05):
        await asyncio.sleep(30)


@pytest.mark.xfail(raises=TimeoutError)
async def test_expected():
    await asyncio.wait_for(asyncio.sleep(30), 0.05)


@pytest.mark.parametrize("n", range(3))
async def test_n(n):
    await asyncio.sleep(0)


def test_not_a_coroutine():
    pass


class TestInAClass:
    async def test_method(self, opened):
        await asyncio.sleep(0)


@pytest.fixture
async def ends_badly():
    yield
    raise RuntimeError("at the end")


async def test_ends_badly(ends_badly):
    pass
