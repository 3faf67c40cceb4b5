"""The shop over HTTP: GET /prices/PRODUCT, POST /orders with {"customer": NAME, "lines": {PRODUCT: COUNT}}."""

import http.server
import json
import urllib.parse

from . import money
from .orders import OutOfStock


def serve(prices, orders):
    """A server on a free port of this machine, one request at a time."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            product = urllib.parse.unquote(self.path).removeprefix("/prices/")
            try:
                self.answer(200, {"price": money.show(prices.of(product))})
            except KeyError:
                self.answer(404, {"error": "no such product"})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                order = orders.place(asked["customer"], asked["lines"])
                self.answer(201, {"order": order, "total": money.show(orders.total(order))})
            except OutOfStock as error:
                self.answer(409, {"error": "out of stock: {}".format(error)})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return http.server.HTTPServer(("127.0.0.1", 0), Handler)
