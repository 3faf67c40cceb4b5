"""Orders, in PostgreSQL."""


class OutOfStock(Exception):
    pass


class Orders:
    def __init__(self, connection):
        self.connection = connection

    def price(self, product):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT cents FROM products WHERE name = %s", [product])
            found = cursor.fetchone()
        if found is None:
            raise KeyError(product)
        return found[0]

    def place(self, customer, lines):
        """Takes products, by name and count, from the stock; all of them or none."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (customer) VALUES (%s) RETURNING id", [customer])
            (order,) = cursor.fetchone()
            for product, count in lines.items():
                cursor.execute(
                    "UPDATE products SET stock = stock - %s WHERE name = %s AND stock >= %s", [count, product, count]
                )
                if cursor.rowcount == 0:
                    raise OutOfStock(product)
                cursor.execute("INSERT INTO lines VALUES (%s, %s, %s)", [order, product, count])
        return order

    def total(self, order):
        with self.connection.cursor() as cursor:
            cursor.execute(
                'SELECT coalesce(sum(cents * count), 0) FROM lines JOIN products ON product = name WHERE "order" = %s',
                [order],
            )
            return cursor.fetchone()[0]

    def stock(self, product):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT stock FROM products WHERE name = %s", [product])
            return cursor.fetchone()[0]

    def best_sellers(self, begin, end, most=10):
        """What was ordered most often from one day until before another, as pairs of product and count."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                'SELECT product, sum(count) FROM lines JOIN orders ON "order" = id WHERE placed >= %s AND placed < %s'
                " GROUP BY product ORDER BY sum(count) DESC, product LIMIT %s",
                [begin, end, most],
            )
            return cursor.fetchall()
