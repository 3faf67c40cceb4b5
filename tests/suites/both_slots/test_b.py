def test_b(meet, worker_id):
    meet("b", "a")
    print(worker_id)
