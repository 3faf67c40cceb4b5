import pytest
from shop.orders import OutOfStock


@pytest.mark.parametrize("number", range(1, 29))
def test_price(orders, number):
    assert orders.price("product {}".format(number)) == 100 + number * 5


@pytest.mark.parametrize("count", range(1, 21))
def test_total(orders, count):
    product = "product {}".format(100 + count)
    order = orders.place("ann", {product: count})
    assert orders.total(order) == count * orders.price(product)
    assert orders.stock(product) == 20 - count


def test_all_or_nothing(orders):
    with pytest.raises(OutOfStock, match="product 202"):
        orders.place("ben", {"product 201": 1, "product 202": 21})
    assert orders.stock("product 201") == 20


def test_no_such_product(orders):
    with pytest.raises(KeyError):
        orders.price("unicorn")


def test_best_sellers_of_a_month(orders):
    best = orders.best_sellers("2026-03-01", "2026-04-01")
    assert len(best) == 10
    assert [count for _, count in best] == sorted((count for _, count in best), reverse=True)


def test_a_month_without_orders_has_no_best_sellers(orders):
    assert orders.best_sellers("2025-03-01", "2025-04-01") == []
