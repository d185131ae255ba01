"""A channel for tests: it plays a host that sends some programs and then goes away."""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from zeroboot_guest.loop import Runtime

RUN, SETTLE = 1, 2


class HostGone(BaseException):
    """Ends the endless loop of a runtime."""


class Result:
    """What a program has left: its streams' bytes, their pieces in order, its exit code."""

    def __init__(self):
        self.pieces = []
        self.exit_code = None

    @property
    def stdout(self):
        return b"".join(data for stream, data in self.pieces if stream == 1).decode()

    @property
    def stderr(self):
        return b"".join(data for stream, data in self.pieces if stream == 2).decode()


class FakeChannel:
    """Answers like ``_zeroboot.Channel``."""

    def __init__(self, requests, seeds=()):
        self._requests = list(requests)
        self._seeds = list(seeds)
        self._payload = b""
        self.results = []

    def ready(self):
        return self._next()

    def done(self, exit_code):
        self.results[-1].exit_code = exit_code
        return self._next()

    def take_seed(self):
        return self._seeds.pop(0) if self._seeds else None

    def payload(self):
        return self._payload

    def write(self, stream, data):
        assert type(data) is bytes, data
        if data:
            self.results[-1].pieces.append((stream, data))

    def _next(self):
        if not self._requests:
            raise HostGone
        number, self._payload = self._requests.pop(0)
        self.results.append(Result())
        return number


@contextlib.contextmanager
def process_state_kept():
    kept = sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__
    main, argv, hook = sys.modules["__main__"], sys.argv, sys.excepthook
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__ = kept
        sys.modules["__main__"], sys.argv, sys.excepthook = main, argv, hook


class Numbers:
    """The constants of ``_zeroboot``."""

    RUN, SETTLE = RUN, SETTLE


def answers(*requests, seeds=()):
    """The results of requests that one runtime answers: a string is a program. The first requests
    find a seed of their own, or None, or a pair of a seed and whether this is a rehearsal."""
    numbered = [(RUN, r.encode() if isinstance(r, str) else r) if r is not None else (SETTLE, b"")
                for r in requests]
    pairs = [(seed, False) if isinstance(seed, bytes) else seed for seed in seeds]
    channel = FakeChannel(numbered, pairs)
    with process_state_kept():
        try:
            Runtime(channel, Numbers).serve()
        except HostGone:
            pass
    return channel.results


def run(program):
    """The result of one program."""
    return answers(program)[0]
