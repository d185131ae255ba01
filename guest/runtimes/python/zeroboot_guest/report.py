"""Tracebacks as CPython prints them."""

import linecache
import sys
import traceback

# Angle brackets keep every reader from looking for a file. It is not "<string>", because that is
# also the name of what a program gives to exec, whose lines would then be shown from the wrong
# source.
FILENAME = "<zeroboot>"

# What belongs to this package in a traceback.
PACKAGE = __name__.partition(".")[0]


class Lines(list):
    """A program's lines. They are split when the first of them is asked for, that is, hardly ever."""

    def __init__(self):
        super().__init__()
        self._source = None

    def of(self, source):
        """Takes the source of the next program."""
        self._source = source
        if list.__len__(self):
            self.clear()

    def __len__(self):
        self._split()
        return list.__len__(self)

    def __getitem__(self, index):
        self._split()
        return list.__getitem__(self, index)

    def __iter__(self):
        self._split()
        return list.__iter__(self)

    def _split(self):
        source, self._source = self._source, None
        if source is not None:
            self[:] = source.decode("utf-8", "replace").splitlines(keepends=True)


class Reporter:
    """Shows a program's exceptions, with its lines."""

    def __init__(self):
        self._lines = Lines()
        # No time of modification: linecache never compares the entry with a file.
        self._entry = (1, None, self._lines, FILENAME)

    def expect(self, source):
        """Takes note of the program that runs now."""
        self._lines.of(source)
        if linecache.cache.get(FILENAME) is not self._entry:
            linecache.cache[FILENAME] = self._entry

    def forget(self):
        """Drops what was kept of programs and of files that were shown."""
        self._lines.of(b"")
        linecache.clearcache()

    def show(self, error, fallback):
        """Prints an uncaught exception, through the program's own hook if it has set one."""
        error.__traceback__ = without_our_frames(error.__traceback__)
        hook = sys.excepthook
        try:
            if hook is sys.__excepthook__:
                traceback.print_exception(error, file=getattr(sys, "stderr", None) or fallback)
            else:
                hook(type(error), error, error.__traceback__)
        except Exception as second:
            # A hook or a stderr of the program's that does not work.
            print("Error in sys.excepthook:", file=fallback)
            traceback.print_exception(without_context(second), file=fallback)
            print("\nOriginal exception was:", file=fallback)
            traceback.print_exception(error, file=fallback)


def without_our_frames(frames):
    """A traceback from the program's first frame on."""
    while frames and frames.tb_frame.f_globals.get("__package__") == PACKAGE:
        frames = frames.tb_next
    return frames


def without_context(error):
    error.__traceback__ = without_our_frames(error.__traceback__)
    error.__context__ = None
    return error
