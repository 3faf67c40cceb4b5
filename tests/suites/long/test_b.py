import signal


def test_first_b():
    pass


def test_waits_b(service, resource):
    open("waits-b", "w").close()
    while True:
        signal.pause()


def test_never_b():
    pass
