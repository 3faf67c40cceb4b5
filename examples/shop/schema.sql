CREATE TABLE products (name text PRIMARY KEY, cents integer NOT NULL CHECK (cents > 0), stock integer NOT NULL CHECK (stock >= 0));
CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL, placed timestamptz NOT NULL DEFAULT now());
CREATE TABLE lines (
    "order" integer NOT NULL REFERENCES orders ON DELETE CASCADE,
    product text NOT NULL REFERENCES products,
    count integer NOT NULL CHECK (count > 0),
    PRIMARY KEY ("order", product)
);
INSERT INTO products
SELECT 'product ' || number, 100 + number * 5, 20 FROM generate_series(1, 500) AS number;

-- The past, which reports are made of.
INSERT INTO orders (customer, placed)
SELECT 'customer ' || number % 700, timestamptz '2026-01-01 08:00Z' + number * interval '20 minutes'
FROM generate_series(1, 20000) AS number;
INSERT INTO lines
SELECT id, 'product ' || 1 + (id * 7 + item * 131) % 500, 1 + id % 3 FROM orders, generate_series(0, 2) AS item;
CREATE INDEX ON orders (placed);
CREATE INDEX ON lines (product);
ANALYZE;
