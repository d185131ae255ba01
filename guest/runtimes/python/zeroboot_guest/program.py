"""One program, from its source to its exit code."""

import builtins
import os
import sys
from types import ModuleType

from .ending import Ending
from .generators import keeps
from .report import FILENAME, Reporter
from .streams import Streams

FAILED = 1
OUTPUT_LOST = 120
INTERRUPTED = 130


class Runner:
    """Runs programs, each in a ``__main__`` of its own."""

    def __init__(self, channel):
        self.streams = Streams(channel)
        self.reporter = Reporter()
        self._ending = Ending()
        self._forked = False
        os.register_at_fork(after_in_child=self._in_child)
        self.streams.install()

    def run(self, source):
        """Runs a program and returns its exit code. ``source`` is bytes, UTF-8 unless it says
        something else as a file would."""
        self._prepare(source)
        main = ModuleType("__main__")
        main.__builtins__ = builtins
        sys.modules["__main__"] = main
        code = self._execute(source, main.__dict__)
        code = self._finish(code, main.__dict__)
        if self._forked:
            # This is a child that the program has forked; its parent answers the host.
            os._exit(code)
        return code

    def give_up(self, error):
        """Ends the process because of an error that is not a program's."""
        self.streams.install()
        print("zeroboot: cannot make this fork differ from others:", file=sys.stderr)
        self.reporter.show(error, self.streams.stderr)
        self.streams.flush()
        os._exit(FAILED)

    def _prepare(self, source):
        self.streams.install()
        self.reporter.expect(source)
        sys.argv = [""]
        sys.excepthook = sys.__excepthook__

    def _execute(self, source, namespace):
        try:
            exec(compile(source, FILENAME, "exec", dont_inherit=True), namespace)
        except SystemExit as request:
            return self._exit_code(request.code)
        except BaseException as error:
            self.streams.flush()
            self.reporter.show(error, self.streams.stderr)
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
        return 0

    def _exit_code(self, code):
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 0xFF
        self.streams.flush()
        print(code, file=sys.stderr)
        return FAILED

    def _finish(self, code, namespace):
        try:
            self._ending.finish()
            if not keeps(namespace):
                self._ending.clear(namespace)
        except BaseException as error:
            # An interrupt while threads are waited for, or an exit in an odd place.
            self.reporter.show(error, self.streams.stderr)
            code = code or FAILED
        return code if self.streams.flush() else OUTPUT_LOST

    def _in_child(self):
        self._forked = True
        self.streams.sink.forked()
