"""Amounts of money, as whole cents."""

import re


def parse(text):
    """Reads `12.50` as 1250."""
    found = re.fullmatch(r"(\d+)(?:\.(\d{1,2}))?", text)
    if not found:
        raise ValueError("no amount: {!r}".format(text))
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))


def show(cents):
    return "{}.{:02}".format(*divmod(cents, 100))


def discount(cents, percent):
    """What is left after a discount, rounded in the customer's favour."""
    if not 0 <= percent <= 100:
        raise ValueError("no discount: {} %".format(percent))
    return cents * (100 - percent) // 100


def split(cents, parts):
    """Parts that differ by a cent at most, the larger ones first."""
    each, rest = divmod(cents, parts)
    return [each + 1] * rest + [each] * (parts - rest)
