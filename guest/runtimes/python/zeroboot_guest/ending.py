"""What CPython does when a program ends, done so that another program can follow.

CPython's own functions for it leave a mark that says "the interpreter is going": thread pools and
finalizers then refuse to work. Those marks are taken back here.
"""

import _thread
import atexit
import sys
import threading
import weakref

# Marks of a finished interpreter, by module.
POOL_MARKS = (
    ("concurrent.futures.thread", "_shutdown"),
    ("concurrent.futures.process", "_global_shutdown"),
)


class Ending:
    """Ends programs. Make it after the preload: what was registered until then is not a program's."""

    def __init__(self):
        atexit._clear()
        weakref.finalize._registered_with_atexit = False
        self._own_threads = _thread._count()
        self._own_log_handlers = log_handlers()

    def finish(self):
        """Waits for threads, then calls what the program registered."""
        if _thread._count() != self._own_threads:
            join_threads()
        if atexit._ncallbacks():
            call_exit_handlers()
        if log_handlers() != self._own_log_handlers:
            sys.modules["logging"].shutdown()

    def clear(self, namespace):
        """Destroys a program's globals, newest first, so that a finalizer finds what was there when
        its object was made. Daemon threads that are left keep theirs."""
        if _thread._count() != self._own_threads:
            return
        for _ in range(len(namespace)):
            try:
                namespace.popitem()
            except KeyError:
                # A finalizer has removed names itself.
                return


def log_handlers():
    logging = sys.modules.get("logging")
    return len(logging._handlerList) if logging else 0


def call_exit_handlers():
    atexit._run_exitfuncs()
    weakref.finalize._shutdown = False
    weakref.finalize._registered_with_atexit = False


def join_threads():
    main = threading.main_thread()
    let_pools_end()
    while waiting := [t for t in threading.enumerate() if not t.daemon and t is not main]:
        for thread in waiting:
            thread.join()


def let_pools_end():
    """A pool that was not shut down has workers that wait for work."""
    for hook in reversed(threading._threading_atexits):
        hook()
    for name, mark in POOL_MARKS:
        if module := sys.modules.get(name):
            setattr(module, mark, False)
