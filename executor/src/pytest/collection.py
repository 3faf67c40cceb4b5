"""Which tests there are: the items collected so far, the files that are collected later, and the discovery."""

import collections
import contextlib

STRETCH_CHARACTERS = 40_000
"""Of ids in one event; JSON makes at most six bytes of one, so that a line stays below 256 KiB."""

NAMED_IN_A_LINE = 1000


class Collection:
    """The items that are collected, and the files whose turn has not come. Files are collected whole, once.

    Hooks and fixtures may want the whole suite. Where they show it, they get it: whoever reads `session.items` has it
    collected; a hook that fails with a part of it, or does with a file's tests what it did not do in the discovery, is
    called again with all of them.
    """

    def __init__(self, channel, lazy, tests=0):
        self.channel, self.lazy = channel, lazy
        self.tests = tests
        """How many the suite has, if that is known."""
        self.session = None
        self.index = {}
        self.deferred, self.places = {}, {}
        self.hooked = {}
        """Of each file with tests that hooks have changed in the discovery, what they are now."""
        self.duplicates, self.deselected = [], 0
        self.uncollected, self.skipped = {}, {}

    def start(self, session):
        self.session = session
        if self.lazy:
            session.genitems = self.genitems
            session.perform_collect = self.perform_collect

    def perform_collect(self, *args, **kwargs):
        """In place of the session's: hooks that will not have an empty suite get the whole one."""
        collect = type(self.session).perform_collect
        with self.whole_if_refused(*args, **kwargs):
            collect(self.session, *args, **kwargs)
        if self.lazy:
            self.session.testscollected = self.tests
        return self.session.items

    def begin(self):
        """The items so far are known; whoever reads the session's from here on has all of them collected."""
        self.index, self.duplicates = {}, []
        self.add(list.__iter__(self.session.items))

    @contextlib.contextmanager
    def whole_if_refused(self, *args, **kwargs):
        try:
            yield
        except pytest.exit.Exception:
            raise
        except Exception:
            if not self.lazy:
                raise
            self.collect_whole(*args, **kwargs)

    def collect_whole(self, *args, **kwargs):
        """Collects all there is as pytest does. Modules are imported already, their items are new."""
        self.lazy, self.deferred, self.index = False, {}, {}
        # pytest 7 has no file twice.
        getattr(self.session.config.pluginmanager, "_duplicatepaths", set()).clear()
        with collection_warnings(self.session.config):
            type(self.session).perform_collect(self.session, *args, **kwargs)
        self.add(self.session.items)

    def genitems(self, node):
        """In place of the session's: files are put aside, everything else is collected as always."""
        is_file = isinstance(node, pytest.File) and not isinstance(node, pytest.Package)
        if is_file and self.lazy:
            path = clean(node.nodeid)
            self.places.setdefault(path, len(self.places))
            nodes = self.deferred.setdefault(path, [])
            if node not in nodes:
                nodes.append(node)
            return ()
        return type(self.session).genitems(self.session, node)

    def add(self, items):
        for item in items:
            nodeid = clean(item.nodeid)
            if nodeid in self.index:
                self.duplicates.append(nodeid)
            else:
                self.index[nodeid] = item

    def find(self, nodeid):
        """The item of an id, its file collected if need be; None if there is none."""
        item = self.index.get(nodeid)
        if item is None and self.deferred:
            path = self.deferred_file(nodeid)
            if path is not None:
                self.collect(path)
                item = self.index.get(nodeid)
        return item

    def deferred_file(self, nodeid):
        end = nodeid.find("::")
        while end >= 0:
            if nodeid[:end] in self.deferred:
                return nodeid[:end]
            end = nodeid.find("::", end + 1)
        return nodeid if nodeid in self.deferred else None

    def collect(self, path):
        self.channel.event("collecting", path=path)
        self.channel.flush()
        began = clock()
        with self.whole_if_refused():
            if self.gather(path) != self.hooked.get(path, ""):
                self.collect_whole()
        self.channel.event("collected", path=path, seconds=round(clock() - began, 6))

    def gather(self, path):
        """Collects one file; what hooks have made of its tests."""
        session, config, nodes = self.session, self.session.config, self.deferred.pop(path)
        items, self.lazy = [], False
        try:
            with collection_warnings(config):
                for node in nodes:
                    items.extend(session.genitems(node))
                before = traits(items)
                config.hook.pytest_collection_modifyitems(session=session, config=config, items=items)
        finally:
            self.lazy = True
        session.items.extend(items)
        if not self.tests:
            session.testscollected += len(items)
        self.add(items)
        return "".join(hook_changes(before, items).values())

    def complete(self):
        """Collects all files whose turn has not come."""
        if not self.lazy:
            return
        while self.deferred and self.lazy:
            with self.whole_if_refused():
                self.gather(next(iter(self.deferred)))
        if self.lazy:
            place = lambda item: self.places.get(clean(item.nodeid).partition("::")[0], -1)
            list.sort(self.session.items, key=place)

    def chain(self, nodeid):
        """The collectors above a test, as far as they are known without collecting its file; None if none are."""
        item = self.index.get(nodeid)
        if item is None:
            path = self.deferred_file(nodeid)
            item = self.deferred[path][0] if path is not None else None
        return item.listchain() if item is not None else None

    def why_missing(self, nodeid):
        path = nodeid.partition("::")[0]
        if path in self.uncollected:
            return "{} cannot be collected: {}".format(path, self.uncollected[path]["message"])
        if path in self.skipped:
            return "{} is skipped: {}".format(path, self.skipped[path])
        known = sum(other == path or other.startswith(path + "::") for other in self.index)
        if nodeid == path and known:
            return "{} could not be collected in the discovery; here it can".format(path)
        if known == 1:
            return "not the only test of {}".format(path)
        return "not among the {} tests of {}".format(known, path) if known else "no tests in {}".format(path)

    def relations(self):
        """The tests of each xdist_group, of those with two or more."""
        groups = collections.defaultdict(list)
        for nodeid, item in self.index.items():
            if "xdist_group" not in item.keywords:
                continue
            marks = item.iter_markers("xdist_group")
            names = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
            if names:
                groups["_".join(sorted(names))].append(nodeid)
        return [tests for tests in groups.values() if len(tests) > 1]

    def environments(self):
        """The tests that name each environment that they need (`@pytest.mark.seagull(environment=...)`); the marker that is
        closest to the test counts. One that says anything else is an error: it was to name one."""
        needs = collections.defaultdict(list)
        for nodeid, item in self.index.items():
            if "seagull" not in item.keywords:
                continue
            marks = list(item.iter_markers("seagull"))
            for mark in marks:
                if mark.args or set(mark.kwargs) - {"environment"} or not all(map(is_text, mark.kwargs.values())):
                    said = [*map(repr, mark.args), *map("{0[0]}={0[1]!r}".format, mark.kwargs.items())]
                    message = '{}: @pytest.mark.seagull({}) names no environment: it takes environment="NAME" and nothing else'
                    raise pytest.UsageError(message.format(nodeid, ", ".join(said)))
            name = next((mark.kwargs["environment"] for mark in marks if mark.kwargs), None)
            if name is not None:
                needs[name].append(nodeid)
        return needs

    def report(self, needs):
        """Sends the discovery: the tests in the session's order and what a person should know of them. `needs`: of each
        environment, its tests."""
        event = self.channel.event
        for path, suffixes in stretches(self.index):
            event("file", path=path, suffixes=suffixes)
            self.channel.flush()
        entries = [path for path in self.uncollected if path not in self.index]
        for path, suffixes in stretches(entries):
            event("file", path=path, suffixes=suffixes)
        for path, problem in self.uncollected.items():
            event("uncollected", path=path, **problem)
        for tests in self.relations():
            event("relation", tests=tests)
        for tests in ordered_relations(self.session.config, self.index):
            event("relation", tests=tests, ordered=True)
        for path, digest in self.hooked.items():
            event("hooked", path=path, digest=digest)
        for name, tests in needs.items():
            for first in range(0, len(tests), NAMED_IN_A_LINE):
                event("needs", tests=tests[first : first + NAMED_IN_A_LINE], environment=name)
        for path, reason in self.skipped.items():
            event("skipped", path=path, reason=reason)
        for nodeid in dict.fromkeys(self.duplicates):
            event("duplicate", id=nodeid)
        event("discovered", tests=len(self.index) + len(entries), deselected=self.deselected)
        self.channel.flush()


def is_text(value):
    return isinstance(value, str)


def collected_first(cls):
    """Makes what reads a list wait until all is collected."""

    def reader(method):
        def read(self, *args):
            self.be_complete()
            return method(self, *args)

        return read

    for name in "__iter__ __reversed__ __len__ __getitem__ __contains__ __eq__ __ne__ __add__ index count copy".split():
        setattr(cls, name, reader(getattr(list, name)))
    return cls


@collected_first
class Items(list):
    """The session's items where files are collected as they are reached: who looks at them has the rest collected."""

    def __init__(self, collection, items):
        super().__init__(items)
        self._collection = collection

    def be_complete(self):
        self._collection.complete()
        items = self._collection.session.items
        if type(items) is list:
            # All was collected anew.
            list.__setitem__(self, slice(None), items)


def collection_warnings(config):
    """The suite's warning filters, which pytest has in force while it collects."""
    if not config.pluginmanager.hasplugin("warnings"):
        return contextlib.ExitStack()
    from _pytest.warnings import catch_warnings_for_item

    return catch_warnings_for_item(config=config, ihook=config.hook, when="collect", item=None)


def stretches(ids):
    """Consecutive ids of one path as (path, suffixes), none too long for a line."""
    path, suffixes, size = None, [], 0
    for nodeid in ids:
        head, mark, tail = nodeid.partition("::")
        if suffixes and (head != path or size + len(nodeid) > STRETCH_CHARACTERS):
            yield path, suffixes
            suffixes, size = [], 0
        path, size = head, size + len(nodeid)
        suffixes.append(mark + tail)
    if suffixes:
        yield path, suffixes
