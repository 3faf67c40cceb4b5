import os

import pytest


@pytest.fixture(scope="session")
def connection():
    import psycopg2

    connection = psycopg2.connect(os.environ["SEAGULL_SERVICE_POSTGRES_URL"])
    yield connection
    connection.close()


@pytest.fixture
def orders(connection):
    from shop.orders import Orders

    yield Orders(connection)
    connection.rollback()


@pytest.fixture
def redis():
    from redis import Redis

    client = Redis.from_url(os.environ["SEAGULL_SERVICE_REDIS_URL"])
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def prices(redis, orders):
    from shop.prices import Prices

    return Prices(redis, orders)
