import json
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from shop.server import serve


@pytest.fixture
def ask(prices, orders):
    server = serve(prices, orders)
    threading.Thread(target=server.serve_forever, args=[0.01]).start()

    def ask(path, body=None):
        url = "http://127.0.0.1:{}{}".format(server.server_port, urllib.parse.quote(path))
        data = json.dumps(body).encode() if body else None
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    yield ask
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("number", range(1, 21))
def test_price(ask, number):
    assert ask("/prices/product {}".format(number)) == (200, {"price": "{:.2f}".format(1 + number * 0.05)})


@pytest.mark.parametrize("count", range(1, 16))
def test_order(ask, count):
    status, answer = ask("/orders", {"customer": "ann", "lines": {"product {}".format(300 + count): count}})
    assert (status, answer["total"]) == (201, "{:.2f}".format(count * (1 + (300 + count) * 0.05)))


def test_what_is_not_there(ask):
    assert ask("/prices/unicorn")[0] == 404
    assert ask("/orders", {"customer": "ann", "lines": {"product 400": 21}}) == (
        409,
        {"error": "out of stock: product 400"},
    )
