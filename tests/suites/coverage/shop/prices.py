def price(pieces, each):
    if pieces < 0:
        raise ValueError(pieces)
    total = pieces * each
    if total > 100:
        total = total * 9 // 10
    return total


def words(total):
    if total == 0:
        return "free"
    elif total < 10:
        return "cheap"
    return "dear"
