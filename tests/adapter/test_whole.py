"""Suites that want to see all of themselves, in workers that collect a file at a time."""

import unittest

from driver import for_each_python, named, outcomes, run_all

TWO = "def test_1(): {0}\ndef test_2(): {0}\n"


def lazily(case, files, ids, **settings):
    """A worker's events that has discovered nothing itself, and had what hooks did in the discovery with its tests."""
    suite = case.suite(files)
    discovery = case.worker(suite)
    case.assertEqual(sorted(discovery.discovered()), sorted(ids))
    hooked = {event["path"]: event["digest"] for event in named(discovery.events, "hooked")}
    discovery.finish()
    worker = case.worker(suite, discover=False, **settings)
    worker.send("run", tests=list(enumerate(ids)), hooked=hooked)
    worker.finish()
    return worker.events


@for_each_python
class Whole:
    def test_who_reads_the_items_has_all_of_them(self):
        conftest = """
            import pytest
            @pytest.fixture(scope="session", autouse=True)
            def database(request):
                return any(item.get_closest_marker("db") for item in request.session.items)
            @pytest.fixture
            def names(request):
                return [item.name for item in request.session.items]
        """
        files = {
            "conftest.py": conftest,
            "test_a.py": "def test_a(database, names, request):\n"
            "    assert database and names == ['test_a', 'test_b', 'test_c'] and len(request.session.items) == 3\n",
            "test_b.py": "def test_b(database, names): assert database and len(names) == 3\n",
            "test_c.py": "import pytest\n@pytest.mark.db\ndef test_c(database): assert database\n",
        }
        # The one that needs it comes last; the order of the list is the session's.
        tests = ["test_b.py::test_b", "test_a.py::test_a", "test_c.py::test_c"]
        events = lazily(self, files, tests)
        self.assertEqual(outcomes(events, tests), dict.fromkeys(tests, "passed"))

    def test_who_reads_none_collects_what_is_reached(self):
        files = {"conftest.py": "", "test_a.py": TWO.format("pass"), "test_b.py": "print('b')"}
        events = run_all(self.python, self.suite(files).folder, tests=["test_a.py::test_1"])
        self.assertEqual([event["path"] for event in named(events, "collecting")], ["test_a.py"])

    def test_a_hook_that_marks_by_its_place_in_the_suite_marks_as_in_pytest(self):
        conftest = """
            import pytest
            def pytest_collection_modifyitems(items):
                for item in items[:3]:
                    item.add_marker(pytest.mark.skip(reason="first"))
        """
        files = {"conftest.py": conftest, **{"test_%s.py" % name: TWO.format("assert 0") for name in "abc"}}
        tests = ["test_%s.py::test_%d" % (name, number) for name in "cba" for number in (1, 2)]
        events = lazily(self, files, tests)
        skipped = ["test_a.py::test_1", "test_a.py::test_2", "test_b.py::test_1"]
        expected = {test: "skipped" if test in skipped else "failed" for test in tests}
        self.assertEqual(outcomes(events, tests), expected)

    def test_a_hook_that_marks_each_test_for_itself_needs_no_more_than_its_file(self):
        conftest = """
            import pytest
            def pytest_collection_modifyitems(items):
                for item in items:
                    item.add_marker(pytest.mark.xfail(reason=item.name, strict=False))
                    item.fixturenames.append("tmp_path")
        """
        files = {"conftest.py": conftest, "test_a.py": TWO.format("assert 0"), "test_b.py": TWO.format("assert 0")}
        tests = ["test_b.py::test_1", "test_b.py::test_2", "test_a.py::test_1", "test_a.py::test_2"]
        events = lazily(self, files, tests)
        self.assertEqual(set(outcomes(events, tests).values()), {"skipped xfailed"})
        self.assertEqual([event["path"] for event in named(events, "collecting")], ["test_b.py", "test_a.py"])

    def test_how_many_there_are_is_known_though_few_are_collected(self):
        conftest = "def pytest_sessionfinish(session): assert session.testscollected == 4"
        test = "def test_1(request): assert request.session.testscollected == 4"
        tests = ["test_a.py::test_1"]
        events = lazily(self, {"conftest.py": conftest, "test_a.py": test}, tests, tests=4)
        self.assertEqual(outcomes(events, tests), {"test_a.py::test_1": "passed"})
        self.assertEqual(named(events, "suite_error"), [])

    def test_what_hooks_of_the_suite_keep_is_of_all_of_it(self):
        modify = "def pytest_collection_modifyitems(config, items):\n    "
        keeps = {
            modify + "config.wanted = any(item.name == 'test_2' for item in items)": "request.config.wanted",
            modify + "for n, item in enumerate(items): item.number = n": "request.node.number < 4",
            "IDS = set()\n" + modify + "IDS.update(item.nodeid for item in items)": "len(sys.modules['conftest'].IDS) == 4",
            "SEEN = []\ndef pytest_itemcollected(item): SEEN.append(item)": "len(sys.modules['conftest'].SEEN) == 4",
        }
        test = "import sys\ndef test_1(request): assert {0}\ndef test_2(request): assert {0}\n"
        for conftest, condition in keeps.items():
            files = {"conftest.py": conftest, "test_a.py": test.format(condition), "test_b.py": test.format(condition)}
            suite, tests = self.suite(files), ["test_%s.py::test_%d" % (name, n) for name in "ab" for n in (1, 2)]
            discovery = self.worker(suite)
            discovery.discovered()
            hooked = {event["path"]: event["digest"] for event in named(discovery.events, "hooked")}
            discovery.finish()
            self.assertEqual(hooked, {"test_a.py": "whole", "test_b.py": "whole"}, conftest)
            worker = self.worker(suite, discover=False, whole=True)
            worker.send("run", tests=list(enumerate(tests)), hooked=hooked)
            worker.finish()
            self.assertEqual(outcomes(worker.events, tests), dict.fromkeys(tests, "passed"), conftest)

    def test_hooks_that_fail_without_the_whole_suite_get_it(self):
        for hook in ("modifyitems(items)", "finish(session)"):
            items = "items" if "items)" in hook else "session.items"
            files = {
                "conftest.py": "def pytest_collection_{}:\n    assert len({}) == 4\n".format(hook, items),
                "test_a.py": TWO.format("pass"),
                "test_b.py": TWO.format("pass"),
            }
            tests = ["test_b.py::test_2", "test_a.py::test_1", "test_a.py::test_2", "test_b.py::test_1"]
            events = lazily(self, files, tests)
            self.assertEqual(outcomes(events, tests), dict.fromkeys(tests, "passed"), hook)

    def test_fixtures_are_up_once_where_all_is_collected_in_between(self):
        conftest = """
            import pytest
            def pytest_collection_modifyitems(items):
                items[-1].add_marker("last")
            @pytest.fixture(scope="session")
            def once():
                print("session up")
                yield
                print("session down")
        """
        module = """
            import pytest, unittest
            ups = []
            def setup_module(): ups.append("module")
            @pytest.fixture(scope="module", autouse=True)
            def own(once):
                ups.append("own")
            def test_1(once): assert ups == ["module", "own"]
            class TestX:
                @pytest.fixture(autouse=True)
                def method(self): ups.append("method")
                def test_2(self): assert ups == ["module", "own", "method"]
            class Old(unittest.TestCase):
                @classmethod
                def setUpClass(cls): ups.append("class")
                def test_3(self): assert ups.count("class") == 1
        """
        names = ["test_1", "TestX::test_2", "Old::test_3"]
        tests = ["test_a.py::" + name for name in names] + ["test_b.py::" + name for name in names]
        events = lazily(self, {"conftest.py": conftest, "test_a.py": module, "test_b.py": module}, tests)
        self.assertEqual(outcomes(events, tests), dict.fromkeys(tests, "passed"))
        self.assertEqual(named(events, "suite_error"), [])


@for_each_python
class Ends:
    """What pytest's exit code alone says, and what comes after the last test."""

    def errors(self, conftest, test="def test(): pass"):
        events, _ = self.run_suite({"conftest.py": conftest, "test_a.py": test})
        return [error["message"] for error in named(events, "suite_error")]

    def test_an_exit_code_that_no_test_explains_is_a_suite_error(self):
        ends = {
            "pytest.exit('slow', returncode=9)": 9,
            "session.exitstatus = 7": 7,
            "session.exitstatus = 1": 1,
        }
        for statement, code in ends.items():
            conftest = "import pytest\ndef pytest_sessionfinish(session):\n    " + statement
            message = "pytest ended with exit code {}, which no test explains".format(code)
            self.assertEqual(self.errors(conftest), [message], statement)

    def test_what_tests_explain_is_none(self):
        for test in ("def test(): assert 0", "import nothing", "", "import pytest\ndef test(): pytest.skip()"):
            self.assertEqual(self.errors("", test), [], test)

    def test_hooks_have_the_true_next_item(self):
        conftest = """
            import pytest
            def pytest_runtest_teardown(item, nextitem):
                print("next", nextitem and nextitem.name, isinstance(nextitem, pytest.Item))
                assert nextitem is None or nextitem.module is not None
        """
        events, _ = self.run_suite({"conftest.py": conftest, "test_a.py": TWO.format("pass"), "test_b.py": TWO.format("pass")})
        texts = [event["text"] for event in named(events, "finished")]
        self.assertEqual([event["outcome"] for event in named(events, "finished")], ["passed"] * 4, texts)
        found = [line for text in texts for line in text.splitlines() if line.startswith("next")]
        self.assertEqual(found, ["next test_2 True", "next test_1 True", "next test_2 True", "next None False"])

    def test_as_long_as_nobody_knows_the_next_item_it_has_no_module(self):
        conftest = "def pytest_runtest_teardown(item, nextitem):\n    assert nextitem is None or nextitem.module is None\n"
        suite = self.suite({"conftest.py": conftest, "test_a.py": TWO.format("pass")})
        worker = self.worker(suite)
        worker.discovered()
        worker.run((0, "test_a.py::test_1"))
        self.assertEqual(worker.until("finished")[-1]["outcome"], "passed")
        worker.run((1, "test_a.py::test_2"))
        worker.finish()
        self.assertEqual(outcomes(worker.events, {0: "1", 1: "2"}), {"1": "passed", "2": "passed"})

    def test_an_interrupt_in_the_wait_for_the_next_leaves_the_test_what_it_came_to(self):
        module = """
            import pytest
            @pytest.fixture
            def two():
                yield
                raise ValueError("down")
            def test_1(): pass
            def test_2(two): pass
        """
        for test, outcome in (("test_a.py::test_1", "passed"), ("test_a.py::test_2", "failed")):
            worker = self.worker(self.suite({"test_a.py": module}))
            worker.discovered()
            worker.run((0, test))
            worker.until("started")
            worker.until("next")
            worker.interrupt()
            worker.until("ended")
            self.assertEqual([event["outcome"] for event in named(worker.events, "finished")], [outcome])
            self.assertEqual(named(worker.events, "suite_error"), [])
            self.assertEqual(len(named(worker.events, "interrupted")), 1)

    def test_a_session_fixture_outlives_the_last_test_that_knows_it_is_the_last(self):
        conftest = """
            import pytest
            @pytest.fixture(scope="session", autouse=True)
            def once():
                yield
                assert 0, "down"
        """
        events, tests = self.run_suite({"conftest.py": conftest, "test_a.py": TWO.format("pass")})
        self.assertEqual(outcomes(events, tests), dict.fromkeys(tests, "passed"))
        self.assertEqual([error["title"] for error in named(events, "suite_error")], ["session fixture teardown"])

    def test_a_test_that_runs_again_has_its_fixtures_set_up_again(self):
        module = """
            import pytest
            tries = {}
            def once(name):
                tries[name] = tries.get(name, 0) + 1
                assert tries[name] > 1
            @pytest.fixture(scope="session")
            def session(): once("session")
            @pytest.fixture(scope="module")
            def module(): once("module")
            def setup_module(): once("setup")
            def test_1(): pass
            def test_2(module): pass
            def test_3(session): pass
        """
        suite = self.suite({"test_a.py": module})
        worker = self.worker(suite)
        tests = worker.discovered()
        worker.run(*(test for test in enumerate(tests) for _ in range(2)))
        worker.finish()
        ran = [event["outcome"] for event in named(worker.events, "finished")]
        self.assertEqual(ran, ["failed", "passed"] * 3)


if __name__ == "__main__":
    unittest.main()
