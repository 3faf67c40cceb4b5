"""What is told beside the tests: errors outside of all tests, and the end."""


FAILED, INTERRUPTED, NO_TESTS = 1, 2, 5
"""Exit codes of pytest that tests, or their absence, explain."""


class Trouble:
    """Errors outside of all tests: before the collection is done they are the end of it, after it suite errors."""

    def __init__(self, channel, limit, settings):
        self.channel, self.limit, self.settings = channel, limit, settings
        self.collected = False
        self.told = None
        self.failed = self.interrupted = False
        # Whether nothing was asked of a controller.
        self.alone = False

    def explains(self, report):
        """A report that pytest's exit code is of."""
        if report.outcome == "failed":
            self.failed = True

    def suite_error(self, title, message, text):
        self.channel.event("suite_error", title=title, message=message, text=bounded(text, self.limit))
        self.channel.flush()

    def broken(self, title, message, text):
        if self.collected:
            self.suite_error(title, message, text)
        elif self.told is None:
            self.channel.event("discovery_failed", message=message, text=bounded(text, self.limit))
            self.channel.flush()
            self.told = message

    def exception(self, title, error):
        """Tells of an exception that ends pytest, once."""
        if error is self.told:
            return
        # A conftest's own exception says more than the one that says a conftest failed.
        cause = getattr(error, "cause", None) or getattr(error, "excinfo", (None, None))[1] or error
        message = exception_message(error)
        text = exception_text(cause)
        missing = of_missing(message, self.settings)
        hints = [missing, of_package(message), of_plugin(message), of_controller(cause, self.alone)]
        said = "; ".join(filter(None, [message, *hints]))
        self.broken(title, said, text)
        self.told = error

    def ended(self, code):
        if not self.collected and self.told is None:
            message = "pytest ended with exit code {} without collecting".format(code)
            self.broken("pytest", message + "; where no tests are to run, use pytest itself", "")
        expected = (0, NO_TESTS, FAILED * self.failed, INTERRUPTED * self.interrupted)
        if self.collected and self.told is None and code not in expected:
            message = "pytest ended with exit code {}, which no test explains".format(code)
            self.suite_error("session finish", message, "")
        self.channel.event("ended", exit=code)
        self.channel.flush()
        self.channel.close()
