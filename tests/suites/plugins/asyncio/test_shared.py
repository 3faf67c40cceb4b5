"""A loop for the whole module, with a fixture that lives in it."""

import asyncio

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server():
    served = []

    async def serve(reader, writer):
        served.append(await reader.readline())
        writer.write(b"yes\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("n", range(4))
async def test_asks(server, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    writer.write(b"?\n")
    assert await reader.readline() == b"yes\n"
    writer.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def for_all():
    yield asyncio.get_running_loop()


@pytest.mark.asyncio(loop_scope="session")
async def test_session(for_all):
    assert for_all is asyncio.get_running_loop()
