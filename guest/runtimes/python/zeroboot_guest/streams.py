"""sys.stdin, sys.stdout and sys.stderr over the channel.

A write is a copy into shared memory and not a system call, so there is no buffered layer between
the text and the raw stream: ``sys.stdout.buffer`` is the raw one, as under ``python -u``.
"""

import io
import os
import sys
import traceback

STDIN, STDOUT, STDERR = 0, 1, 2


class Sink:
    """Where output goes: ``write(stream, data)`` takes bytes."""

    def __init__(self, channel):
        self.write = channel.write

    def forked(self):
        """A child has no channel: its output goes through the kernel."""
        self.write = write_to_descriptor


def write_to_descriptor(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


class Output(io.RawIOBase):
    """Standard output or standard error."""

    mode = "wb"

    def __init__(self, descriptor, name, sink):
        self._descriptor = descriptor
        self._sink = sink
        self.name = name

    def writable(self):
        return True

    def fileno(self):
        self._check()
        return self._descriptor

    def isatty(self):
        self._check()
        return False

    def write(self, data):
        self._check()
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        self._sink.write(self._descriptor, data)
        return len(data)

    def _check(self):
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class EndOfFile(io.RawIOBase):
    """Standard input: always at its end."""

    mode = "rb"
    name = "<stdin>"

    def readable(self):
        return True

    def fileno(self):
        return STDIN

    def isatty(self):
        return False

    def readinto(self, buffer):
        return 0


def standard_input():
    stream = io.TextIOWrapper(io.BufferedReader(EndOfFile()), "utf-8", "surrogateescape")
    stream.mode = "r"
    return stream


def standard_output(sink):
    raw = Output(STDOUT, "<stdout>", sink)
    # By lines, as on a terminal: a line costs little here, and a program that is stopped has shown
    # what it printed.
    stream = io.TextIOWrapper(raw, "utf-8", "surrogateescape", newline="\n", line_buffering=True)
    stream.mode = "w"
    return stream


def standard_error(sink):
    raw = Output(STDERR, "<stderr>", sink)
    stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", newline="\n", line_buffering=True)
    stream.mode = "w"
    return stream


def state(stream):
    """What a program can change about a stream; None when it is of no use any more."""
    try:
        if stream.closed:
            return None
        return (stream.encoding, stream.errors, stream.line_buffering, stream.write_through,
                vars(stream) == {"mode": stream.mode})
    except (ValueError, AttributeError):
        # Detached, or an attribute deleted.
        return None


class Streams:
    """The three streams. They survive what a program does to them."""

    def __init__(self, channel):
        self.sink = Sink(channel)
        self._makers = (standard_input, lambda: standard_output(self.sink),
                        lambda: standard_error(self.sink))
        self._streams = [make() for make in self._makers]
        self._states = [state(stream) for stream in self._streams]

    @property
    def stderr(self):
        return self._streams[STDERR]

    def install(self):
        """Gives the next program streams in their first state."""
        # A wrapper that the last program has put around one of our streams closes it when it goes.
        sys.stdin = sys.stdout = sys.stderr = None
        sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None
        streams = self._streams
        for i, expected in enumerate(self._states):
            if state(streams[i]) != expected:
                streams[i] = self._makers[i]()
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams

    def flush(self):
        """Flushes the program's streams and ours, and says whether all of it could be written."""
        own = self._streams
        streams = (getattr(sys, "stdout", None), getattr(sys, "stderr", None), own[STDOUT], own[STDERR])
        return all([self._flush(stream) for stream in streams])

    def _flush(self, stream):
        try:
            # A program's own stream need not have all the attributes of ours; that is no error.
            if not getattr(stream, "closed", True):
                stream.flush()
        except ValueError:
            # Detached: what it held went with its buffer.
            return True
        except Exception as error:
            print("Exception ignored while flushing", type(stream), file=self.stderr)
            traceback.print_exception(error, file=self.stderr)
            return False
        return True
