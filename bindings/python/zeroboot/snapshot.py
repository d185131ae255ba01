"""Templates, and forks of them."""

from __future__ import annotations

import os
from ctypes import byref, sizeof
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Type, Union
from uuid import UUID

from . import _ffi, errors
from ._ffi import lib
from ._handle import Handle
from .sandbox import Sandbox

if TYPE_CHECKING:
    from .aio import Forking

StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def load(
    path: StrPath,
    *,
    verify: bool = False,
    sealed_copy: bool = False,
    recycle_max: Optional[int] = None,
    prewarm: int = 0,
) -> Snapshot:
    """Loads a snapshot: opens its files and checks that this host can run it.

    path: its directory; "zeroboot template inspect --path NAME" prints that of a template.
    verify: also read all of it and compare with its hashes.
    sealed_copy: copy its memory first. Without it, somebody who truncates the snapshot's file while
        it is in use makes this process fault.
    recycle_max: the most virtual machines that are kept when their sandboxes are closed, put back to
        the snapshot's state byte for byte, and given to later forks; 0 for none, None for four a
        processor, but at least eight. When nobody has forked for ten seconds, one is left.
    prewarm: the most new virtual machines that are made ahead of forks; 0 for none.

    Both are done by a thread of the library's, which ends when the snapshot is closed.

    Raises NotFoundError, CorruptError, VersionError, HostError, ClockError, KvmError, LimitError
    and other ZerobootErrors.
    """
    directory = os.fsencode(path)
    if b"\0" in directory:
        raise ValueError("path has a null byte in it")
    flags = (_ffi.ZB_LOAD_VERIFY if verify else 0) | (_ffi.ZB_LOAD_SEALED_COPY if sealed_copy else 0)
    options = _ffi.zb_load_options(
        size=sizeof(_ffi.zb_load_options),
        flags=flags,
        # For C, 0 is the default.
        recycle_max=0 if recycle_max is None else _machines("recycle_max", recycle_max) or _ffi.ZB_NONE,
        prewarm=_machines("prewarm", prewarm),
    )
    pointer = _ffi.snapshot_p()
    errors.call(lib.zb_snapshot_load, directory, byref(options), byref(pointer))
    return Snapshot(pointer, os.fsdecode(directory))


def _machines(name: str, value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 <= value < _ffi.ZB_NONE:
        raise ValueError(f"{name} must be from 0 to {_ffi.ZB_NONE - 1}: {value}")
    return value


def template(name: str) -> str:
    """The directory of a template of the user's: what "zeroboot template build NAME" makes.

    Whether there is one, load() finds out.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "zeroboot", "templates", name)


class Snapshot:
    """A template, loaded and ready to be forked. Made by load().

    Any number of threads may use it at once. Its sandboxes live on when it is closed. Until then it
    keeps virtual machines for forks to come: see load().
    """

    path: str
    runtime: str
    """The name of the runtime that runs the programs: "python", for one."""
    memory_bytes: int
    """How much memory a sandbox's guest has. A sandbox takes only what it writes to."""

    def __init__(self, pointer: Any, path: str) -> None:
        self._handle = Handle(self, "snapshot", pointer, lib.zb_snapshot_free)
        self.path = path
        self.runtime = lib.zb_snapshot_runtime(pointer).decode("utf-8", "replace")
        self.memory_bytes = lib.zb_snapshot_memory_bytes(pointer)

    def fork(self, *, fresh: bool = False, instance_id: Optional[UUID] = None) -> Sandbox:
        """Makes a sandbox.

        fresh: one in which no program ever ran, not one that was put back to the snapshot's state.
        instance_id: its name, which its guest finds in /etc/machine-id; None for a random one.

        Raises ClosedError, LimitError, KvmError, WrongProcessError and other ZerobootErrors.
        """
        flags = _ffi.ZB_FORK_FRESH if fresh else 0
        options = _ffi.zb_fork_options(size=sizeof(_ffi.zb_fork_options), flags=flags)
        if instance_id is not None:
            options.instance_id[:] = _name(instance_id)
        sandbox = _ffi.sandbox_p()
        with self._handle as pointer:
            errors.call(lib.zb_fork, pointer, byref(options), byref(sandbox))
        return Sandbox(sandbox)

    def fork_async(self, *, fresh: bool = False, instance_id: Optional[UUID] = None) -> Forking:
        """Makes a sandbox for asyncio: "async with snapshot.fork_async() as sandbox:", or await it."""
        from .aio import Forking  # asyncio is only loaded by who uses it.

        return Forking(self, fresh=fresh, instance_id=instance_id)

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def close(self) -> None:
        """Frees the snapshot. Closing twice does nothing; forks under way come to their end."""
        self._handle.close()

    def __enter__(self) -> Snapshot:
        if self.closed:
            raise errors.closed("snapshot")
        return self

    def __exit__(
        self,
        _kind: Optional[Type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zeroboot.Snapshot {self.path!r}{' closed' if self.closed else ''}>"


def _name(instance_id: UUID) -> bytes:
    if not isinstance(instance_id, UUID):
        raise TypeError(f"instance_id must be a uuid.UUID, not {type(instance_id).__name__}")
    if instance_id.int == 0:
        raise ValueError("instance_id must not be all zeros")
    return instance_id.bytes
