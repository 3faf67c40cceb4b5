def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == "test_b":
            item._nodeid = item.nodeid.replace("test_b", "test_a")
            if hasattr(item, "_id"):
                item._id = type(item._id).parse(item._nodeid)
