import pytest
from django.db import connection
from shop.models import Order


@pytest.mark.django_db(transaction=True)
def test_alone_in_its_database(meet, worker_id):
    assert Order.objects.count() == 0
    Order.objects.create(number=1)
    meet("returns", "orders")
    assert Order.objects.count() == 1
    assert worker_id in connection.settings_dict["NAME"]


@pytest.mark.django_db
@pytest.mark.parametrize("turn", range(5))
def test_rolled_back(turn):
    assert not Order.objects.exists()
    Order.objects.create(number=1)


def test_no_database_without_the_mark():
    with pytest.raises(RuntimeError):
        Order.objects.count()
