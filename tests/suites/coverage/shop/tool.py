"""Run by a test, in a process of its own."""

import sys


def main(word):
    if word == "twice":
        return word * 2
    return word


if __name__ == "__main__":
    print(main(sys.argv[1]))
