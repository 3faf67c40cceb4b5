"""What a discovery says, and that a worker which collects file by file finds the same tests."""

import re
import unittest

from driver import Worker, for_each_python, ids_of, named, outcomes, run_all

STRANGE_IDS = """
    import pytest
    IDS = ["a b", "a::b", "a[b]c", "]", "/", "'", '"', "@", "%s", "\u00e9\u4e16", "new\\nline", "tab\\t", "back\\\\slash", "x" * 10_000]
    @pytest.mark.parametrize("value", range(len(IDS)), ids=IDS)
    def test_it(value): pass
    class Test:
        @pytest.mark.parametrize("value", ["a::b[c] d"])
        def test_in(self, value): pass
"""

TREE = {
    "test_top.py": "def test_a(): pass",
    "pkg/__init__.py": "",
    "pkg/test_in.py": "def test_b(): pass",
    "pkg/sub/__init__.py": "",
    "pkg/sub/test_deep.py": "import pkg\nclass TestC:\n    def test_c(self): pass",
    "pkg/sub/conftest.py": "import pytest\n@pytest.fixture\ndef local(): return 1",
    "pkg/sub/test_local.py": "def test_d(local): assert local",
    "plain/test_other.py": "def test_e(): pass",
}


@for_each_python
class Discovery:
    def both(self, files, args=(), **settings):
        """Runs a suite in its discoverer and in a worker that collects file by file, which must agree."""
        suite = self.suite(files)
        events = run_all(self.python, suite.folder, args, **settings)
        tests = ids_of(events)
        lazy = run_all(self.python, suite.folder, args, tests=tests, **settings)
        self.assertEqual(named(lazy, "missing"), [])
        self.assertEqual(outcomes(lazy, tests), outcomes(events, tests))
        self.assertEqual(len(named(lazy, "finished")), len(tests))
        return events, tests

    def plain_ids(self, files, *args):
        """The ids plain pytest collects, told by a plugin of the suite."""
        teller = "def pytest_collection_finish(session):\n"
        teller += "    open('ids', 'w').write(chr(0).join(item.nodeid for item in session.items))"
        suite = self.suite({**files, "teller.py": teller})
        self.plain(suite, "-p", "teller", "--collect-only", "-q", "-o", "pythonpath=.", *args)
        return suite.read("ids").split("\0")

    def test_strange_ids(self):
        ini = {"pytest.ini": "[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\naddopts = -p no:randomly\n"}
        files = {**ini, "test_a.py": STRANGE_IDS}
        events, tests = self.both(files)
        self.assertEqual(tests, self.plain_ids(files))
        self.assertEqual(set(outcomes(events, tests).values()), {"passed"})
        self.assertIn("test_a.py::test_it[new\nline]", tests)
        self.assertEqual(named(events, "discovered")[0]["tests"], 15)

    def test_a_tree_keeps_pytests_order(self):
        _, tests = self.both(TREE)
        self.assertEqual(tests, self.plain_ids(TREE))

    def test_thousands_of_tests_in_one_file_are_split_over_lines(self):
        source = """
            import pytest
            @pytest.mark.parametrize("i", range(5000), ids=lambda i: "%05d-\u4e16" % i + "x" * 60)
            def test_a(i): pass
        """
        worker = self.worker(self.suite({"test_a.py": source}))
        self.assertEqual(len(worker.discovered()), 5000)
        self.assertGreater(len(named(worker.events, "file")), 5)
        worker.finish()

    def test_a_module_skipped_whole_has_no_entry(self):
        files = {
            "test_a.py": "def test_a(): pass",
            "test_b.py": "import pytest\npytest.skip('not today', allow_module_level=True)\ndef test_b(): pass",
            "test_c.py": "import pytest\npytest.importorskip('no_such_module')",
        }
        events, tests = self.both(files)
        self.assertEqual(tests, ["test_a.py::test_a"])
        skipped = {event["path"]: event["reason"] for event in named(events, "skipped")}
        self.assertEqual(set(skipped), {"test_b.py", "test_c.py"})
        self.assertEqual(skipped["test_b.py"], "not today")
        self.assertIn("no_such_module", skipped["test_c.py"])

    def test_a_file_that_cannot_be_collected_is_one_failed_entry(self):
        files = {"test_a.py": "import no_such_module", "test_b.py": "def test_b(): pass", "test_c.py": "def broken(:"}
        events, tests = self.both(files)
        self.assertEqual(sorted(tests), ["test_a.py", "test_b.py::test_b", "test_c.py"])
        uncollected = {event["path"]: event for event in named(events, "uncollected")}
        self.assertIn("no_such_module", uncollected["test_a.py"]["message"])
        self.assertIn("SyntaxError", uncollected["test_c.py"]["text"])
        said = outcomes(events, tests)
        self.assertEqual(said["test_a.py"], "failed not collected")
        self.assertEqual(said["test_b.py::test_b"], "passed")
        failed = [event for event in named(events, "finished") if event["outcome"] == "failed"]
        self.assertEqual({event["cause"] for event in failed}, {"error"})
        self.assertTrue(any("no_such_module" in event["text"] for event in failed))

    def test_a_class_that_cannot_be_collected_is_one_failed_entry(self):
        source = """
            import pytest
            def test_a(): pass
            class TestB:
                @pytest.mark.parametrize("x", [1])
                def test_b(self): pass
        """
        events, tests = self.both({"test_a.py": source})
        self.assertEqual(tests, ["test_a.py::test_a", "test_a.py::TestB"])
        self.assertIn("no argument 'x'", named(events, "uncollected")[0]["text"])
        said = {"test_a.py::test_a": "passed", "test_a.py::TestB": "failed not collected"}
        self.assertEqual(outcomes(events, tests), said)

    def test_a_module_that_is_not_found_has_a_sentence_on_where_it_is_or_is_to_be(self):
        files = {"mypkg/__init__.py": "", "tests/test_a.py": "import mypkg", "tests/test_b.py": "import mypkg, nowhere"}
        suite = self.suite({**files, "tests/test_c.py": "import nowhere"})
        warnings = [event["message"] for event in named(run_all(self.python, suite.folder), "warning")]
        beside, nowhere = warnings
        self.assertIn("mypkg is in the working directory", beside)
        self.assertIn("`pythonpath = .`", beside)
        self.assertIn("nowhere is not installed for {} on ".format(self.python), nowhere)
        suite = self.suite({**files, "pytest.ini": "[pytest]\npythonpath = .\n"})
        self.assertEqual([event["message"] for event in named(run_all(self.python, suite.folder), "warning")], [nowhere])
        broken = {"conftest.py": "import nowhere", "test_a.py": ""}
        here = self.failed_discovery(broken, elsewhere=["db", "shop:1"])["message"]
        self.assertIn(", where tests are discovered; those of [environment.db] run in the image shop:1: ", here)
        self.assertIn('[environment.default] image = "shop:1"', here)
        inside = self.failed_discovery(broken, image="shop:1")["message"]
        self.assertIn("nowhere is not installed for {} of the image shop:1: install it in that".format(self.python), inside)
        failed = self.failed_discovery({"mypkg.py": "", "tests/conftest.py": "import mypkg"}, "tests")
        self.assertIn("mypkg is in the working directory", failed["message"])

    def test_a_broken_conftest_below_the_root_spares_the_rest(self):
        if self.pytest_version() < (8, 0):
            self.skipTest("stops the whole collection in this pytest")
        files = {"sub/conftest.py": "1/0", "sub/test_a.py": "def test_a(): pass", "test_b.py": "def test_b(): pass"}
        events, tests = self.both(files)
        self.assertEqual(sorted(tests), ["sub", "test_b.py::test_b"])
        self.assertIn("ZeroDivisionError", named(events, "uncollected")[0]["text"])

    def test_duplicate_ids_run_once(self):
        conftest = """
            def pytest_collection_modifyitems(items):
                for item in items:
                    if item.name == "test_b":
                        item._nodeid = item.nodeid.replace("test_b", "test_a")
                        if hasattr(item, "_id"):
                            item._id = type(item._id).parse(str(item._id).replace("test_b", "test_a"))
        """
        source = "def test_a(): pass\ndef test_b(): assert 0"
        events, tests = self.both({"conftest.py": conftest, "test_a.py": source})
        self.assertEqual(tests, ["test_a.py::test_a"])
        self.assertEqual([event["id"] for event in named(events, "duplicate")], ["test_a.py::test_a"])
        self.assertEqual(outcomes(events, tests), {"test_a.py::test_a": "passed"})

    def test_an_item_that_is_there_twice_runs_once(self):
        conftest = "def pytest_collection_modifyitems(items): items.extend(items[:1])"
        events, tests = self.both({"conftest.py": conftest, "test_a.py": "def test_a(): pass\ndef test_b(): pass"})
        self.assertEqual(tests, ["test_a.py::test_a", "test_a.py::test_b"])
        self.assertEqual([event["id"] for event in named(events, "duplicate")], ["test_a.py::test_a"])
        self.assertEqual(len(named(events, "finished")), 2)

    def test_groups_of_two_or_more_are_relations(self):
        source = """
            import pytest
            @pytest.mark.xdist_group("g")
            def test_a(): pass
            @pytest.mark.xdist_group(name="g")
            class TestB:
                def test_b(self): pass
                @pytest.mark.xdist_group("h")
                def test_c(self): pass
            @pytest.mark.xdist_group
            def test_d(): pass
            @pytest.mark.xdist_group("default")
            def test_e(): pass
            def test_xdist_group(): pass
        """
        events, _ = self.both({"test_a.py": source})
        relations = [event["tests"] for event in named(events, "relation")]
        self.assertEqual(
            relations,
            [["test_a.py::test_a", "test_a.py::TestB::test_b"], ["test_a.py::test_d", "test_a.py::test_e"]],
        )

    def test_tests_name_the_environment_that_they_need_and_the_closest_marker_counts(self):
        source = """
            import pytest
            pytestmark = pytest.mark.seagull(environment="web")
            def test_a(): pass
            class TestB:
                pytestmark = pytest.mark.seagull(environment="db")
                def test_b(self): pass
                @pytest.mark.seagull(environment="cache")
                @pytest.mark.seagull
                def test_c(self): pass
                @pytest.mark.seagull
                def test_d(self): pass
            """
        plain = "def test_e(): pass\ndef test_seagull(): pass"
        config = "[pytest]\naddopts = --strict-markers\n"
        events, _ = self.both({"test_a.py": source, "test_z.py": plain, "pytest.ini": config})
        needs = {event["environment"]: event["tests"] for event in named(events, "needs")}
        db = ["test_a.py::TestB::test_b", "test_a.py::TestB::test_d"]
        expected = {"web": ["test_a.py::test_a"], "db": db, "cache": ["test_a.py::TestB::test_c"]}
        self.assertEqual(needs, expected)

    def test_a_marker_that_names_no_environment_fails_the_discovery(self):
        for said in ('env="db"', '"db"', 'environment="db", other=1', "environment=None"):
            source = "import pytest\n@pytest.mark.seagull({})\ndef test_a(): pass".format(said)
            failed = self.failed_discovery({"test_a.py": source, "pytest.ini": "[pytest]\n"})
            said = said.replace('"', "'")
            expected = "test_a.py::test_a: @pytest.mark.seagull({}) names no environment: ".format(said)
            self.assertTrue(failed["message"].startswith(expected), failed)
            self.assertTrue(failed["message"].endswith('it takes environment="NAME" and nothing else'), failed)

    def test_zero_tests(self):
        worker = self.worker(self.suite({"helper.py": ""}))
        self.assertEqual(worker.discovered(), [])
        self.assertEqual(worker.events[-1]["tests"], 0)
        self.assertEqual(worker.finish()[-1]["event"], "ended")

    def failed_discovery(self, files, *args, code=None, **settings):
        worker = self.worker(self.suite(files), args, **settings)
        events = worker.until()
        self.assertEqual(len(named(events, "discovery_failed")), 1, events)
        self.assertEqual(events[-1]["event"], "ended")
        self.assertTrue(events[-1]["exit"] if code is None else events[-1]["exit"] == code)
        self.assertEqual(named(events, "discovered") + named(events, "suite_error"), [])
        return named(events, "discovery_failed")[0]

    def test_a_conftest_that_fails_fails_the_discovery(self):
        files = {"conftest.py": "def broken():\n    raise RuntimeError('no conftest')\nbroken()", "test_a.py": ""}
        for discover in (True, False):
            failed = self.failed_discovery(files, discover=discover)
            self.assertIn("no conftest", failed["message"])
            self.assertIn("conftest.py:2", failed["text"])

    def test_errors_that_stop_pytest_fail_the_discovery(self):
        files = {"test_a.py": "def test_a(): pass"}
        self.assertIn("no_such_file.py", self.failed_discovery(files, "no_such_file.py")["message"])
        self.assertIn("--no-such-option", self.failed_discovery(files, "--no-such-option")["message"])
        self.assertIn("no_such_plugin", self.failed_discovery(files, "-p", "no_such_plugin")["message"])
        hook = "def pytest_configure(config): raise RuntimeError('not configured')"
        self.assertIn("not configured", self.failed_discovery({**files, "conftest.py": hook})["message"])
        hook = "def pytest_collection_modifyitems(items): raise RuntimeError('not modified')"
        self.assertIn("not modified", self.failed_discovery({**files, "conftest.py": hook})["message"])
        hook = "import pytest\ndef pytest_sessionstart(): raise pytest.UsageError('not started')"
        self.assertIn("not started", self.failed_discovery({**files, "conftest.py": hook})["message"])
        hook = "def pytest_cmdline_main(): return 0"
        self.assertIn("without collecting", self.failed_discovery({**files, "conftest.py": hook}, code=0)["message"])

    def test_no_pytest_fails_the_discovery(self):
        files = {"pytest.py": "raise ImportError('none here')"}
        failed = self.failed_discovery(files, env={"PYTHONPATH": "."})
        self.assertEqual(failed["message"], "pytest cannot be imported: none here")
        self.assertIn("\nhint: install it for that interpreter, in the image", failed["text"])

    def test_an_overlong_error_says_how_much_is_left_out(self):
        files = {"conftest.py": "def pytest_collect_file(): raise RuntimeError('x' * 50_000)", "test_a.py": ""}
        text = self.failed_discovery(files, output_limit=10_000)["text"]
        self.assertGreater(int(re.search(r"\[\.\.\. (\d+) bytes left out \.\.\.\]", text)[1]), 40_000)

    def test_options_under_which_nothing_runs_are_refused(self):
        files = {"test_a.py": "def test_a(): raise RuntimeError('it ran')"}
        flags = ["--collect-only", "--setup-plan", "--setup-only", "--fixtures", "--fixtures-per-test", "--markers"]
        for flag in [*flags, "--cache-show", "--help"]:
            failed = self.failed_discovery(files, flag)
            self.assertEqual(failed["message"], flag + " runs no tests; use pytest itself")
        for args in (["--co"], ["--version", "--version"]):
            self.assertIn("runs no tests; use pytest itself", self.failed_discovery(files, *args)["message"])
        # pytest 9 answers it before any plugin is asked.
        code = 0 if self.pytest_version() >= (9, 0) else 4
        self.assertIn("use pytest itself", self.failed_discovery(files, "--version", code=code)["message"])

    def test_options_that_go_by_earlier_runs_change_nothing_here(self):
        files = {
            "pytest.ini": "[pytest]\naddopts = -p no:randomly --sw\n",
            "test_a.py": "def test_a(): assert 0\ndef test_b(): pass",
            "test_b.py": "def test_c(): pass",
        }
        events, tests = self.both(files, ["--lf", "--lfnf=none", "--nf"])
        self.assertEqual(tests, ["test_a.py::test_a", "test_a.py::test_b", "test_b.py::test_c"])
        self.assertEqual(sorted(outcomes(events, tests).values()), ["failed", "passed", "passed"])
        expected = "--new-first ignored: files have other times on other machines; use seagull's --changed"
        self.assertEqual([event["message"] for event in named(events, "warning")], [expected])

    def test_selection_and_options_of_the_user_hold(self):
        files = {
            **TREE,
            "pytest.ini": "[pytest]\naddopts = -p no:randomly -k 'not test_a and not test_c' --deselect plain/test_other.py::test_e\nmarkers = slow\n",
            "test_marked.py": "import pytest\n@pytest.mark.slow\ndef test_m(): pass\ndef test_n(): pass",
        }
        for args in (["-m", "not slow"], ["pkg", "test_marked.py::test_m"], ["--import-mode=importlib"], ["-p", "no:cacheprovider"]):
            events, tests = self.both(files, args)
            self.assertEqual(tests, self.plain_ids(files, *args))
            self.assertGreater(len(tests), 1)
            self.assertGreater(named(events, "discovered")[0]["deselected"], 0)

    def test_pyargs_and_a_rootdir_elsewhere(self):
        args = ["--pyargs", "pkg", "-o", "pythonpath=."]
        _, tests = self.both(TREE, args)
        self.assertEqual(tests, self.plain_ids(TREE, *args))
        self.assertEqual(len(tests), 3)
        suite = self.suite(TREE)
        worker = Worker(self.python, suite.folder + "/pkg", ["--rootdir", suite.folder, "sub"])
        self.addCleanup(worker.close)
        self.assertEqual(worker.discovered()[0], "pkg/sub/test_deep.py::TestC::test_c")
        self.assertEqual(worker.events[0]["rootdir"], suite.folder)
        worker.finish()

    def test_doctests_and_items_of_other_files(self):
        conftest = """
            import pytest
            def pytest_collect_file(file_path, parent):
                if file_path.suffix == ".tests":
                    return File.from_parent(parent, path=file_path)
            class File(pytest.File):
                def collect(self):
                    for line in self.path.read_text().split():
                        yield Item.from_parent(self, name=line)
            class Item(pytest.Item):
                def runtest(self): assert self.name != "bad"
                def reportinfo(self): return self.path, 0, self.name
        """
        files = {
            "conftest.py": conftest,
            "some.tests": "good bad",
            "test_a.py": 'def test_a():\n    """\n    >>> 1 + 1\n    2\n    """',
            "test_doc.txt": ">>> 1\n2\n",
        }
        events, tests = self.both(files, ["--doctest-modules"])
        self.assertEqual(tests, self.plain_ids(files, "--doctest-modules"))
        self.assertEqual(
            sorted(outcomes(events, tests).items()),
            [
                ("some.tests::bad", "failed"),
                ("some.tests::good", "passed"),
                ("test_a.py::test_a", "passed"),
                ("test_a.py::test_a.test_a", "passed"),
                ("test_doc.txt::test_doc.txt", "failed"),
            ],
        )

    def test_ids_that_are_not_there_are_missing_with_the_reason(self):
        files = {
            "test_a.py": "def test_a(): pass",
            "test_skip.py": "import pytest\npytest.skip('off', allow_module_level=True)",
            "test_bad.py": "import no_such_module",
        }
        tests = ["test_a.py::test_x", "gone.py::test_a", "test_skip.py::test_a", "test_bad.py::test_a", "test_a.py::test_a", "test_a.py"]
        events = run_all(self.python, self.suite(files).folder, tests=tests)
        missing = {tests[event["test"]]: event["reason"] for event in named(events, "missing")}
        self.assertEqual(missing.pop("test_a.py::test_x"), "not the only test of test_a.py")
        self.assertEqual(missing.pop("gone.py::test_a"), "no tests in gone.py")
        self.assertEqual(missing.pop("test_skip.py::test_a"), "test_skip.py is skipped: off")
        self.assertIn("test_bad.py cannot be collected: ModuleNotFoundError", missing.pop("test_bad.py::test_a"))
        self.assertEqual(missing, {"test_a.py": "test_a.py could not be collected in the discovery; here it can"})
        self.assertEqual(outcomes(events, tests), {"test_a.py::test_a": "passed"})

    def test_an_id_that_only_a_whole_collection_has(self):
        files = {
            "registry.py": "names = ['base']",
            "test_a.py": "import registry\nregistry.names.append('late')\ndef test_a(): pass",
            "test_b.py": "import pytest, registry\n@pytest.mark.parametrize('n', registry.names)\ndef test_b(n): pass",
        }
        suite = self.suite(files)
        args = ["-o", "pythonpath=."]
        late = "test_b.py::test_b[late]"
        self.assertIn(late, ids_of(run_all(self.python, suite.folder, args)))
        self.assertEqual(len(named(run_all(self.python, suite.folder, args, tests=[late]), "missing")), 1)
        whole = run_all(self.python, suite.folder, args, tests=[late], whole=True)
        self.assertEqual(outcomes(whole, [late]), {late: "passed"})
        self.assertEqual(named(whole, "discovered") + named(whole, "file") + named(whole, "collecting"), [])


if __name__ == "__main__":
    unittest.main()
