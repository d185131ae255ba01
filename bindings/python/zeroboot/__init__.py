"""Real virtual machines for the price of a function call.

    import zeroboot

    with zeroboot.load(zeroboot.template("python")) as snapshot, snapshot.fork() as sandbox:
        print(sandbox.run("print(6*7)").text)
"""

from __future__ import annotations

import enum

from ._ffi import lib as _lib
from .cancel import Cancel
from .errors import (
    BusyError,
    ClockError,
    ClosedError,
    CorruptError,
    DeadError,
    HostError,
    InputOutputError,
    InternalError,
    InvalidArgumentError,
    KvmError,
    LimitError,
    NotFoundError,
    OutOfMemoryError,
    Status,
    UnsupportedError,
    VersionError,
    WrongProcessError,
    ZerobootError,
)
from .log import log_to
from .result import Outcome, Result, RunFailed, RunTimeout
from .sandbox import DEFAULT_MAX_OUTPUT, DEFAULT_TIMEOUT, Sandbox
from .snapshot import Snapshot, load, template

__all__ = [
    "DEFAULT_MAX_OUTPUT",
    "DEFAULT_TIMEOUT",
    "BusyError",
    "Cancel",
    "ClockError",
    "ClosedError",
    "CorruptError",
    "DeadError",
    "Feature",
    "HostError",
    "InputOutputError",
    "InternalError",
    "InvalidArgumentError",
    "KvmError",
    "LimitError",
    "NotFoundError",
    "OutOfMemoryError",
    "Outcome",
    "Result",
    "RunFailed",
    "RunTimeout",
    "Sandbox",
    "Snapshot",
    "Status",
    "UnsupportedError",
    "VersionError",
    "WrongProcessError",
    "ZerobootError",
    "abi_version",
    "features",
    "load",
    "log_to",
    "template",
    "version",
]


class Feature(enum.IntFlag):
    """What the library can do beyond what every library of its ABI version can."""

    LOAD_VERIFY = 1
    LOAD_SEALED_COPY = 2
    FORK_FRESH = 4
    FORK_INSTANCE_ID = 8


def version() -> str:
    """The library's version."""
    text: bytes = _lib.zb_version()
    return text.decode()


def abi_version() -> int:
    """The version of the library's binary interface."""
    number: int = _lib.zb_abi_version()
    return number


def features() -> Feature:
    """What the library can do. Bits that have no name here are of a newer library."""
    return Feature(_lib.zb_features())


__version__ = version()
