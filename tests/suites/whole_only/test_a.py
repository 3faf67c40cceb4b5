import os

import registry

registry.names.append("added")


def test_once():
    try:
        os.mkdir("died")
    except FileExistsError:
        return
    os._exit(0)
