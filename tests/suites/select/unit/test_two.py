class TestGroup:
    def test_x(self):
        pass

    def test_y(self):
        pass
