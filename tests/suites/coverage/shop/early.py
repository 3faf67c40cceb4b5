"""Imported before any test is collected; its last function is called when the last test is over."""

LIMITS = []

for number in range(3):
    if number:
        LIMITS.append(number)
    else:
        LIMITS.append(100)


def limit(down=False):
    if down:
        return min(LIMITS)
    return max(LIMITS)
