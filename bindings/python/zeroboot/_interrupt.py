"""Ctrl-C during a run in the main thread.

Python calls signal handlers between two instructions of the main thread, so none is called while
that thread is inside the library. What comes at once is a byte in the file that
signal.set_wakeup_fd names: CPython's own handler, in C, writes it. A thread of ours waits for that
byte and triggers the run's token; the run ends, and KeyboardInterrupt is raised.

Meanwhile SIGINT has a handler that only takes note. One that raises could do so in places where the
exception is lost: between the library and the first line of a callback, for one.

All of this is for SIGINT with Python's own handler. A program that has set another is left alone.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, List, Optional, Type

from .cancel import Cancel

_MARK = b"\0"


class Watched:
    """Meanwhile, Ctrl-C triggers the token; leaving raises KeyboardInterrupt then."""

    __slots__ = ("token", "in_callback", "_interrupted", "_watcher", "_handler", "_wakeup_fd")

    def __init__(self, token: Cancel) -> None:
        self.token = token
        self.in_callback = False
        self._interrupted = False
        self._watcher: Optional[_Watcher] = None

    def __enter__(self) -> Watched:
        if threading.get_ident() == threading.main_thread().ident:
            try:
                self._arm()
            except (ValueError, OSError, RuntimeError):
                # A subinterpreter, or no file or thread to be had: the run goes on without.
                pass
        return self

    def _arm(self) -> None:
        self._handler = signal.signal(signal.SIGINT, self._note)
        if not _is_ours_or_pythons(self._handler):
            signal.signal(signal.SIGINT, self._handler)
            return
        try:
            watcher = _Watcher.instance()
            # In this order: the watcher triggers what it finds in the list.
            watcher.watched.append(self)
            self._wakeup_fd = signal.set_wakeup_fd(watcher.write_fd, warn_on_full_buffer=False)
            if self._wakeup_fd != watcher.write_fd:
                watcher.forward_fd = self._wakeup_fd
            self._watcher = watcher
        finally:
            if self._watcher is None:
                signal.signal(signal.SIGINT, self._handler)

    def _note(self, _number: int, _frame: Optional[FrameType]) -> None:
        self._interrupted = True
        self.token.trigger()
        if self.in_callback:
            raise KeyboardInterrupt

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        if self._watcher is None:
            return
        signal.set_wakeup_fd(self._wakeup_fd)
        self._watcher.watched.remove(self)
        handler = signal.signal(signal.SIGINT, self._handler)
        if handler != self._note:
            # A callback has set another, for good.
            signal.signal(signal.SIGINT, handler)
        if self._interrupted:
            self._watcher.drain()
            if kind is None or not issubclass(kind, KeyboardInterrupt):
                raise KeyboardInterrupt


def _is_ours_or_pythons(handler: Any) -> bool:
    ours = isinstance(getattr(handler, "__self__", None), Watched)
    return ours or handler is signal.default_int_handler


class _Watcher:
    """The thread that waits for the byte. One a process, made when it is first needed."""

    _the: Optional[_Watcher] = None

    def __init__(self) -> None:
        self.watched: List[Watched] = []
        self.forward_fd = -1
        self._drained = threading.Semaphore(0)
        self._read_fd, self.write_fd = os.pipe()
        try:
            os.set_blocking(self.write_fd, False)
            threading.Thread(target=self._watch, name="zeroboot-ctrl-c", daemon=True).start()
        except BaseException:
            os.close(self._read_fd)
            os.close(self.write_fd)
            raise

    @classmethod
    def instance(cls) -> _Watcher:
        if cls._the is None:
            cls._the = _Watcher()
        return cls._the

    @classmethod
    def forget(cls) -> None:
        """In a child of os.fork, which has the files but not the thread."""
        if cls._the is not None:
            os.close(cls._the._read_fd)
            os.close(cls._the.write_fd)
            cls._the = None

    def drain(self) -> None:
        """Waits until bytes of the past are done with, so that they stop no run of the future."""
        os.write(self.write_fd, _MARK)
        self._drained.acquire()

    def _watch(self) -> None:
        while True:
            for number in os.read(self._read_fd, 512):
                if number == _MARK[0]:
                    self._drained.release()
                    continue
                if number == signal.SIGINT:
                    for watched in list(self.watched):
                        watched.token.trigger()
                self._forward(number)

    def _forward(self, number: int) -> None:
        """To whom the program has wanted to be woken by signals: an event loop."""
        if self.forward_fd == -1:
            return
        try:
            os.write(self.forward_fd, bytes([number]))
        except OSError:
            # Closed or full: as with CPython's own handler, the signal itself is not lost.
            pass


os.register_at_fork(after_in_child=_Watcher.forget)
