"""Prices, kept in Redis for a while."""

SECONDS = 60


class Prices:
    def __init__(self, redis, orders):
        self.redis, self.orders = redis, orders

    def of(self, product):
        kept = self.redis.get("price:" + product)
        if kept is not None:
            return int(kept)
        cents = self.orders.price(product)
        self.redis.set("price:" + product, cents, ex=SECONDS)
        return cents

    def forget(self, product):
        self.redis.delete("price:" + product)
