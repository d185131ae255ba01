"""What the library's failures are in Python."""

from __future__ import annotations

import enum
from ctypes import byref
from typing import Any, Callable, Dict, Optional, Type

from . import _ffi
from ._ffi import lib


class Status(enum.IntEnum):
    """What kind of failure it was."""

    INVALID_ARGUMENT = 1
    UNSUPPORTED = 2
    NOT_FOUND = 3
    CORRUPT = 4
    VERSION = 5
    HOST = 6
    CLOCK = 7
    KVM = 8
    LIMIT = 9
    IO = 10
    NO_MEMORY = 11
    BUSY = 12
    DEAD = 13
    WRONG_PROCESS = 14
    INTERNAL = 15


class ZerobootError(Exception):
    """Something that zeroboot could not do. What a guest does is no error but a Result."""

    status: int
    """A Status; a plain number if the library is newer and has others."""
    errno: Optional[int]
    """The system's errno, where the failure was the system's."""
    message: str
    """What failed, which one and by how much."""

    def __init__(self, status: int, errno: Optional[int], message: str) -> None:
        # OSError, which some subclasses also are, would take two arguments for its own.
        super().__init__(status, errno, message)
        self.status = status
        self.errno = errno
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return type(self), (self.status, self.errno, self.message)


class InvalidArgumentError(ZerobootError, ValueError):
    """An argument has a value that makes no sense: a program that is too long, for one."""


class ClosedError(InvalidArgumentError):
    """The snapshot or the sandbox was closed."""


class UnsupportedError(ZerobootError):
    """An option that this version of the library does not know."""


class NotFoundError(ZerobootError, FileNotFoundError):
    """There is no such snapshot."""


class CorruptError(ZerobootError):
    """A snapshot's files are truncated, changed, or no snapshot's."""


class VersionError(ZerobootError):
    """The snapshot is of another version of zeroboot; build it again."""


class HostError(ZerobootError):
    """This host's processor or KVM lacks something that the snapshot needs."""


class ClockError(ZerobootError):
    """The snapshot's clock would be wrong: the host's stands before it."""


class KvmError(ZerobootError):
    """KVM is not there, may not be used, or refused something."""


class LimitError(ZerobootError):
    """A limit was reached: open files, mappings, memory. The message names it."""


class InputOutputError(ZerobootError):
    """A file cannot be read, or the system refused something else."""


class OutOfMemoryError(ZerobootError, MemoryError):
    """There is no memory for the object to be returned."""


class BusyError(ZerobootError):
    """The sandbox is in use at this moment."""


class DeadError(ZerobootError):
    """The sandbox can run nothing any more: an earlier run was its last."""


class WrongProcessError(ZerobootError):
    """The object was made by the parent process, before os.fork."""


class InternalError(ZerobootError):
    """A defect of the library."""


BY_STATUS: Dict[Status, Type[ZerobootError]] = {
    Status.INVALID_ARGUMENT: InvalidArgumentError,
    Status.UNSUPPORTED: UnsupportedError,
    Status.NOT_FOUND: NotFoundError,
    Status.CORRUPT: CorruptError,
    Status.VERSION: VersionError,
    Status.HOST: HostError,
    Status.CLOCK: ClockError,
    Status.KVM: KvmError,
    Status.LIMIT: LimitError,
    Status.IO: InputOutputError,
    Status.NO_MEMORY: OutOfMemoryError,
    Status.BUSY: BusyError,
    Status.DEAD: DeadError,
    Status.WRONG_PROCESS: WrongProcessError,
    Status.INTERNAL: InternalError,
}


def of(status: int, errno: int, message: str) -> ZerobootError:
    """The exception for a status, which may be one that this package does not know."""
    try:
        known = Status(status)
    except ValueError:
        return ZerobootError(status, errno or None, message)
    return BY_STATUS[known](known, errno or None, message)


def closed(what: str) -> ClosedError:
    return ClosedError(Status.INVALID_ARGUMENT, None, f"the {what} is closed")


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Calls a function whose last parameter is the error's place; raises what comes there."""
    error = _ffi.error_p()
    status = function(*arguments, byref(error))
    if status != _ffi.ZB_OK:
        raise taken(status, error)


def taken(status: int, error: Any) -> ZerobootError:
    """The exception for an error object, which is freed."""
    try:
        message = lib.zb_error_message(error).decode("utf-8", "replace")
        return of(status, lib.zb_error_errno(error), message)
    finally:
        lib.zb_error_free(error)
