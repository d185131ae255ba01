"""How a run ended, and what it printed."""

from __future__ import annotations

import enum
import signal as signals
from ctypes import byref, c_size_t, string_at
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ._ffi import lib


class Outcome(enum.IntEnum):
    """How a run ended. After any but EXITED the sandbox can run nothing more."""

    EXITED = 1
    """The program ended; it has an exit code."""
    PROCESS_EXITED = 2
    """The program ended its process without the runtime, as by os._exit; it has an exit code."""
    SIGNALED = 3
    """A signal ended the program's process."""
    OUT_OF_MEMORY = 4
    """The guest's memory was used up."""
    TIMED_OUT = 5
    """The run took longer than its timeout."""
    CANCELLED = 6
    """Somebody stopped it."""
    OUTPUT_LIMIT = 7
    """The program printed more than max_output; the result has that much of it."""
    CRASHED = 8
    """The virtual machine came to an end, by the guest's doing; the message says how."""
    MEMORY_LIMIT = 9
    """The guest wrote to more memory than its sandbox may have."""

    @classmethod
    def _missing_(cls, value: object) -> Optional[Outcome]:
        # A newer library may have more outcomes.
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"OUTCOME_{value}"
        member._value_ = value
        return member


@dataclass(frozen=True)
class Result:
    """How a run ended, and what it printed until then."""

    outcome: Outcome
    exit_code: Optional[int]
    """0 to 255 if the program or its process exited, else None. 0 is success, and only then."""
    signal: Optional[int]
    """The number of the signal that ended the process, if one did, else None."""
    stdout: bytes
    stderr: bytes
    elapsed: float
    """Seconds from handing over the program to its end."""
    message: str
    """How the run ended, in English."""

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """The standard output as text; bytes that are no UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """The standard error as text; bytes that are no UTF-8 become U+FFFD."""
        return self.stderr.decode("utf-8", "replace")

    def check(self) -> Result:
        """Raises RunTimeout or RunFailed unless the exit code is 0."""
        if self.ok:
            return self
        raise (RunTimeout if self.outcome == Outcome.TIMED_OUT else RunFailed)(self)


class RunFailed(Exception):
    """A run with check=True did not end with exit code 0."""

    result: Result

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result

    @property
    def outcome(self) -> Outcome:
        return self.result.outcome

    @property
    def exit_code(self) -> Optional[int]:
        return self.result.exit_code

    @property
    def signal(self) -> Optional[int]:
        return self.result.signal

    @property
    def stdout(self) -> bytes:
        return self.result.stdout

    @property
    def stderr(self) -> bytes:
        return self.result.stderr

    def __str__(self) -> str:
        last = self.result.stderr_text.rstrip().rpartition("\n")[2]
        how = self.result.message
        if self.signal is not None:
            how = f"{how} ({_signal_name(self.signal)})"
        return f"{how}: {last}" if last else how


class RunTimeout(RunFailed, TimeoutError):
    """A run with check=True took longer than its timeout; it has the output until then."""


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def taken(handle: Any) -> Result:
    """A copy of a result of the library's, which is freed."""
    try:
        outcome = Outcome(lib.zb_result_outcome(handle))
        exit_code = lib.zb_result_exit_code(handle)
        return Result(
            outcome=outcome,
            exit_code=exit_code if exit_code >= 0 else None,
            signal=lib.zb_result_signal(handle) or None,
            stdout=_bytes(lib.zb_result_stdout, handle),
            stderr=_bytes(lib.zb_result_stderr, handle),
            elapsed=lib.zb_result_elapsed_ns(handle) / 1e9,
            message=lib.zb_result_message(handle).decode("utf-8", "replace"),
        )
    finally:
        lib.zb_result_free(handle)


def _bytes(accessor: Callable[..., Any], handle: Any) -> bytes:
    length = c_size_t()
    start = accessor(handle, byref(length))
    return string_at(start, length.value) if length.value else b""
