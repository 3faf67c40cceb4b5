import os


def test_a(request, meet):
    meet("a", "b")
    database = request.config.workerinput["dbname"]
    assert os.path.exists(os.path.join(os.environ["DATABASES"], f"database-{database}"))
