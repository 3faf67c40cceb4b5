def test_a(meet, worker_id):
    meet("a", "b")
    print(worker_id)
