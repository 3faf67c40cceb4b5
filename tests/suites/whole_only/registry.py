"""What test files add to when they are imported; the ids of test_z.py depend on it."""

names = ["own"]
