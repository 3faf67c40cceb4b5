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
