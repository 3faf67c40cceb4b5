import os


def test_b(request, meet):
    meet("b", "a")
    database = request.config.workerinput["dbname"]
    assert os.path.exists(os.path.join(os.environ["DATABASES"], f"database-{database}"))
