"""Tests that need one another in their order, as pytest-order and pytest-dependency are told of them."""

import collections


class Related:
    """Sets of tests, united where they share one."""

    def __init__(self):
        self.parents = {}

    def root(self, test):
        parents = self.parents
        while parents.setdefault(test, test) != test:
            # Halves the way for whoever comes next.
            parents[test] = test = parents[parents[test]]
        return test

    def unite(self, test, other):
        self.parents[self.root(test)] = self.root(other)

    def sets(self, order):
        """Those of two or more, each in this order."""
        sets = collections.defaultdict(list)
        for test in order:
            if test in self.parents:
                sets[self.root(test)].append(test)
        return [tests for tests in sets.values() if len(tests) > 1]


def ordered_relations(config, index):
    """Of each set of tests that plugins relate, the ids in the session's order. `index` has the items by their ids."""
    related, plugins = Related(), config.pluginmanager
    if plugins.hasplugin("pytest_order"):
        relate_by_order(related, index, getattr(config.option, "order_scope", None) or "session")
    if plugins.hasplugin("dependency"):
        relate_by_dependency(related, index)
    return related.sets(index)


def scope_of(nodeid, scope):
    """What of an id is the same for all tests of its scope."""
    if scope == "session":
        return ""
    path, *names = without_parameters(nodeid).split("::")
    if scope == "package":
        return path.rpartition("/")[0]
    return "::".join([path, *names[:-1]]) if scope == "class" else path


def without_parameters(nodeid):
    return nodeid.partition("[")[0]


def relate_by_order(related, index, scope):
    """Tests with a place in one scope are one set, and so are those with `before` or `after` and what these name."""
    marked = {nodeid: list(item.iter_markers("order")) for nodeid, item in index.items() if "order" in item.keywords}
    named = by_names(index) if any(mark.kwargs for marks in marked.values() for mark in marks) else {}
    placed = {}
    for nodeid, marks in marked.items():
        for mark in marks:
            if mark.args or "index" in mark.kwargs:
                related.unite(nodeid, placed.setdefault(scope_of(nodeid, scope), nodeid))
            for label in listed(mark.kwargs.get("before")) + listed(mark.kwargs.get("after")):
                for target in targets(named, label, nodeid):
                    related.unite(nodeid, target)


def listed(value):
    """One or several, as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def by_names(index):
    """The ids under each name of a function or class in them."""
    named = collections.defaultdict(list)
    for nodeid in index:
        for name in without_parameters(nodeid).split("::")[1:]:
            named[name].append(nodeid)
    return named


def targets(named, label, nodeid):
    """The tests that a label means: of the same file if there are such."""
    label = without_parameters(str(label))
    path, _, _ = nodeid.partition("::")
    found = [
        other
        for other in named.get(label.rpartition("::")[2], ())
        if any(sign + label + "::" in "/" + without_parameters(other) + "::" for sign in ("::", "/"))
    ]
    return [other for other in found if other.startswith(path + "::")] or found


def relate_by_dependency(related, index):
    """A test and those it depends on are one set."""
    dependent = {nodeid: item.get_closest_marker("dependency") for nodeid, item in index.items() if "dependency" in item.keywords}
    wanted = [(nodeid, mark) for nodeid, mark in dependent.items() if mark is not None and mark.kwargs.get("depends")]
    scopes = {mark.kwargs.get("scope", "module") for _, mark in wanted}
    providers = collections.defaultdict(list)
    for nodeid in index if wanted else ():
        mark = dependent.get(nodeid)
        for scope in scopes:
            name = (mark is not None and mark.kwargs.get("name")) or dependency_name(nodeid, scope)
            providers[scope, scope_of(nodeid, scope), name].append(nodeid)
    for nodeid, mark in wanted:
        scope = mark.kwargs.get("scope", "module")
        for name in listed(mark.kwargs["depends"]):
            for provider in providers.get((scope, scope_of(nodeid, scope), name), ()):
                related.unite(nodeid, provider)


def dependency_name(nodeid, scope):
    """What pytest-dependency calls a test that has no name of its own."""
    if scope in ("session", "package"):
        return nodeid
    return nodeid.split("::", 2 if scope == "class" else 1)[-1]
