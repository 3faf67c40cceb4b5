import signal


def test_first_a():
    pass


def test_waits_a(service, resource):
    open("waits-a", "w").close()
    while True:
        signal.pause()


def test_never_a():
    pass
