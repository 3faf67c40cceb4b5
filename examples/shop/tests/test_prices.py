import pytest


@pytest.mark.parametrize("number", range(1, 21))
def test_a_price_is_kept(prices, redis, number):
    product = "product {}".format(number)
    assert prices.of(product) == 100 + number * 5
    redis.set("price:" + product, 1)
    assert prices.of(product) == 1
    prices.forget(product)
    assert prices.of(product) == 100 + number * 5
