"""Running programs."""

from __future__ import annotations

import math
from ctypes import byref, sizeof, string_at
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Type, Union
from uuid import UUID

from . import _ffi, errors, result as results
from ._ffi import lib
from ._handle import Handle
from ._interrupt import Watched
from .cancel import Cancel
from .result import Result

OnOutput = Callable[[bytes], object]

DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_OUTPUT = 64 * 1024 * 1024


class Sandbox:
    """A virtual machine of its own, forked from a snapshot. Made by Snapshot.fork().

    One thread at a time runs programs in it; another gets BusyError. close() may come from any
    thread, at any time.
    """

    instance_id: UUID
    """Its name: what Snapshot.fork() was given, or a random one."""

    def __init__(self, pointer: Any) -> None:
        self.instance_id = UUID(bytes=string_at(lib.zb_sandbox_instance_id(pointer), 16))
        self._handle = Handle(self, "sandbox", pointer, lib.zb_free)
        self._token = Cancel()

    def run(
        self,
        code: Union[str, bytes],
        *,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        max_output: Optional[int] = DEFAULT_MAX_OUTPUT,
        check: bool = False,
        on_stdout: Optional[OnOutput] = None,
        on_stderr: Optional[OnOutput] = None,
        cancel: Optional[Cancel] = None,
    ) -> Result:
        """Runs a program and waits for its end. However it ends, that is a Result.

        The program sees what earlier programs left in the sandbox.

        code: the program, in the language of the snapshot's runtime.
        timeout: the longest time that it may take, in seconds; None for as long as it takes.
        max_output: the most that it may print, in bytes of both streams; None for no limit.
        check: raise RunFailed, or RunTimeout, unless the exit code is 0.
        on_stdout, on_stderr: called with each piece of output as it comes, in this thread. What
            they raise ends the run and is raised here. They cannot use this sandbox but to close it.
        cancel: a token that may stop the run.

        Raises DeadError after a run with any outcome but Outcome.EXITED, BusyError, ClosedError,
        InvalidArgumentError if the program is too long, KeyboardInterrupt at Ctrl-C in the main
        thread (the run is stopped), and other ZerobootErrors.
        """
        if cancel is not None and not isinstance(cancel, Cancel):
            raise TypeError(f"cancel must be a zeroboot.Cancel, not {type(cancel).__name__}")
        options = _options(code, timeout, max_output)
        output = _output(on_stdout, on_stderr)
        with self._handle as pointer:
            token = self._run_token()
            options.cancel = token._handle
            if cancel is None:
                ended = _run(pointer, options, token, output)
            else:
                with cancel._also(token):
                    ended = _run(pointer, options, token, output)
        return ended.check() if check else ended

    def _run_token(self) -> Cancel:
        """The token of the run that begins. It stays triggered if it was in a run before."""
        if self._token.triggered and not self._handle.closed:
            self._token = Cancel()
            if self._handle.closed:
                self._token.trigger()
        return self._token

    def _stop(self) -> None:
        """Stops the run that is in flight."""
        self._token.trigger()

    @property
    def alive(self) -> bool:
        """Whether it can run another program."""
        try:
            with self._handle as pointer:
                return bool(lib.zb_sandbox_is_alive(pointer))
        except errors.ClosedError:
            return False

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def close(self) -> None:
        """Ends the virtual machine. Closing twice does nothing.

        A run that is in flight in another thread is cancelled and waited for; one that this is
        called from a callback of ends after the callback.
        """
        self._handle.close()
        self._stop()
        self._handle.join()

    def __enter__(self) -> Sandbox:
        if self.closed:
            raise errors.closed("sandbox")
        return self

    def __exit__(
        self,
        _kind: Optional[Type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "alive" if self.alive else "dead"
        return f"<zeroboot.Sandbox {state}>"


def _options(
    code: Union[str, bytes], timeout: Optional[float], max_output: Optional[int]
) -> _ffi.zb_run_options:
    if isinstance(code, str):
        code = code.encode()
    elif not isinstance(code, bytes):
        raise TypeError(f"code must be str or bytes, not {type(code).__name__}")
    return _ffi.zb_run_options(
        size=sizeof(_ffi.zb_run_options),
        code=code,
        code_len=len(code),
        timeout_ms=_milliseconds(timeout),
        max_output_bytes=_limit(max_output),
    )


def _milliseconds(timeout: Optional[float]) -> int:
    if timeout is None:
        return _ffi.ZB_NO_TIMEOUT
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout must not be negative: {timeout}")
    if timeout > 2**53:
        return _ffi.ZB_NO_TIMEOUT
    # For C, 0 is the default.
    return max(1, math.ceil(timeout * 1000))


def _limit(max_output: Optional[int]) -> int:
    if max_output is None:
        return _ffi.ZB_NO_LIMIT
    if not isinstance(max_output, int):
        raise TypeError(f"max_output must be an int or None, not {type(max_output).__name__}")
    if max_output < 1:
        raise ValueError(f"max_output must be at least 1: {max_output}")
    return min(max_output, _ffi.ZB_NO_LIMIT)


class _Output:
    """Who gets a run's output while it comes."""

    def __init__(self, sinks: Dict[int, OnOutput]) -> None:
        self.sinks = sinks
        self.watched: Optional[Watched] = None
        self.error: Optional[BaseException] = None


def _output(on_stdout: Optional[OnOutput], on_stderr: Optional[OnOutput]) -> Optional[_Output]:
    sinks: Dict[int, OnOutput] = {}
    for stream, name, sink in (
        (_ffi.ZB_STREAM_STDOUT, "on_stdout", on_stdout),
        (_ffi.ZB_STREAM_STDERR, "on_stderr", on_stderr),
    ):
        if sink is None:
            continue
        if not callable(sink):
            raise TypeError(f"{name} must be callable, not {type(sink).__name__}")
        sinks[stream] = sink
    return _Output(sinks) if sinks else None


def _run(pointer: Any, options: Any, token: Cancel, output: Optional[_Output]) -> Result:
    handle = _ffi.result_p()
    with Watched(token) as watched:
        if output is None:
            errors.call(lib.zb_run, pointer, byref(options), byref(handle))
        else:
            output.watched = watched
            _streaming[id(output)] = output
            options.on_output = _on_output
            options.on_output_user = id(output)
            try:
                errors.call(lib.zb_run, pointer, byref(options), byref(handle))
            finally:
                del _streaming[id(output)]
        ended = results.taken(handle)
        if output is not None and output.error is not None:
            error, output.error = output.error, None
            raise error
    return ended


# By what the library passes on to the callback. Made once: a callback costs a mapping's space.
_streaming: Dict[int, _Output] = {}


def _piece(user: int, stream: int, data: int, length: int) -> int:
    output = _streaming[user]
    watched = output.watched
    assert watched is not None
    try:
        watched.in_callback = True
        sink = output.sinks.get(stream)
        if sink is not None:
            sink(string_at(data, length))
        return 0
    except BaseException as error:  # Nothing may leave; _run raises it.
        output.error = error
        return 1
    finally:
        watched.in_callback = False


_on_output = _ffi.zb_output_callback(_piece)
