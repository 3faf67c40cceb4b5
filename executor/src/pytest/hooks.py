"""What the hooks of a suite make of its collection, and whether they need to see all of it for that."""

import collections
import hashlib
import sys

WHOLE = "whole"
"""In place of a digest: hooks of the suite keep something that is of the suite as a whole."""

LAZY = {"_obj", "_instance"}
"""Attributes that pytest sets when somebody looks."""


class Before:
    """What tells whether hooks change tests, and keep something beside: before these are called."""

    def __init__(self, config, items):
        self.config = config
        self.traits = traits(items)
        own = own_plugins(config, "pytest_collection_modifyitems")
        # What plugins keep is theirs: where none of these hooks is the suite's, nothing is looked at.
        self.kept = [(keeper, kept(keeper)) for keeper in (config, *own) if own]
        attributes, looked_at = {}, items if own else ()
        self.attributes = {id(item): attributes.setdefault(names, names) for item, names in attributes_of(looked_at)}

    def changes(self, items):
        """{file: digest} of tests that have other marks or fixtures; of all files, where that is not all."""
        if own_plugins(self.config, "pytest_itemcollected") or self.is_kept(items):
            return dict.fromkeys((clean(item.nodeid).partition("::")[0] for item in items), WHOLE)
        return hook_changes(self.traits, items)

    def is_kept(self, items):
        """Whether hooks of the suite have set something elsewhere than in marks and fixtures."""
        if any(differs(before, kept(keeper)) for keeper, before in self.kept):
            return True
        return any(
            not (name in self.attributes[id(item)] or name in LAZY or hasattr(type(item), name))
            for item, names in attributes_of(items)
            if id(item) in self.attributes
            for name in names
        )


def attributes_of(items):
    return ((item, tuple(vars(item))) for item in items)


def own_plugins(config, hook):
    """Those of the suite that implement a hook."""
    plugins = (implementation.plugin for implementation in getattr(config.hook, hook).get_hookimpls())
    return [plugin for plugin in plugins if own_source(config, module_of(plugin)) and hasattr(plugin, "__dict__")]


def module_of(plugin):
    return plugin if hasattr(plugin, "__file__") else sys.modules.get(type(plugin).__module__)


def kept(keeper):
    """Its attributes, with how much is in them."""
    containers = (list, dict, set, collections.deque)
    return {name: (value, len(value) if isinstance(value, containers) else 0) for name, value in vars(keeper).items()}


def differs(before, now):
    """Whether something was set, or something is in it or gone from it."""
    nothing = (before, 0)
    return any(
        before.get(name, nothing)[0] is not value or before[name][1] != size for name, (value, size) in now.items()
    )


def traits(items):
    """Of each item, what tells whether a hook has changed its marks or its fixtures."""
    return {id(item): (len(item.own_markers), len(getattr(item, "fixturenames", ()))) for item in items}


def hook_changes(before, items):
    """{file: digest} of the marks and fixtures of those items that have others than before."""
    files = collections.defaultdict(list)
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if before.get(id(item)) != (len(item.own_markers), len(fixtures)):
            nodeid = clean(item.nodeid)
            marks = sorted((mark.name, settled(mark.args), settled(mark.kwargs)) for mark in item.own_markers)
            files[nodeid.partition("::")[0]].append(repr((nodeid, marks, sorted(fixtures))))
    digest = lambda lines: hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "replace")).hexdigest()[:16]
    return {path: digest(lines) for path, lines in files.items()}


def settled(value):
    """A text of a mark's arguments that is the same in each process."""
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(map(settled, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(sorted(settled(key) + ":" + settled(value[key]) for key in value)) + "}"
    return repr(value) if isinstance(value, (str, bytes, int, float, type(None))) else type(value).__name__
