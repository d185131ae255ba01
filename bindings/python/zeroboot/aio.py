"""Sandboxes for asyncio.

Calls run in threads of a pool that is only for them, so that the event loop is never blocked and
its default pool is not used up. A thread is made when a call needs one and stays for the next.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Awaitable, Callable, Generator, Optional, Type, TypeVar, Union
from uuid import UUID

from . import sandbox as sync
from .cancel import Cancel
from .result import Result
from .sandbox import OnOutput, Sandbox
from .snapshot import Snapshot

T = TypeVar("T")

MAX_CALLS = 512
"""How many calls are under way at once; more wait for their turn."""


class AsyncSandbox:
    """A Sandbox whose calls are awaited. Made by Snapshot.fork_async()."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def run(
        self,
        code: Union[str, bytes],
        *,
        timeout: Optional[float] = sync.DEFAULT_TIMEOUT,
        max_output: Optional[int] = sync.DEFAULT_MAX_OUTPUT,
        check: bool = False,
        on_stdout: Optional[OnOutput] = None,
        on_stderr: Optional[OnOutput] = None,
        cancel: Optional[Cancel] = None,
    ) -> Result:
        """As Sandbox.run. on_stdout and on_stderr are called in the event loop's thread.

        When the task is cancelled, the run is stopped and waited for (some milliseconds).
        """
        task = Cancel()
        relay = _Relay(task)
        call = partial(
            self._sandbox.run,
            code,
            timeout=timeout,
            max_output=max_output,
            check=check,
            on_stdout=relay.of("on_stdout", on_stdout),
            on_stderr=relay.of("on_stderr", on_stderr),
            cancel=task,
        )
        if cancel is None:
            ended = await _call(call, task.trigger)
        elif isinstance(cancel, Cancel):
            with cancel._also(task):
                ended = await _call(call, task.trigger)
        else:
            raise TypeError(f"cancel must be a zeroboot.Cancel, not {type(cancel).__name__}")
        relay.check()
        return ended

    @property
    def instance_id(self) -> UUID:
        """Its name: what Snapshot.fork_async() was given, or a random one."""
        return self._sandbox.instance_id

    @property
    def alive(self) -> bool:
        """Whether it can run another program."""
        return self._sandbox.alive

    @property
    def closed(self) -> bool:
        return self._sandbox.closed

    async def close(self) -> None:
        """Ends the virtual machine, and a run that is in flight. Closing twice does nothing."""
        await _call(self._sandbox.close, certain=True)

    async def __aenter__(self) -> AsyncSandbox:
        self._sandbox.__enter__()
        return self

    async def __aexit__(
        self,
        _kind: Optional[Type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<zeroboot.AsyncSandbox of {self._sandbox!r}>"


class Forking:
    """What Snapshot.fork_async() gives: to be awaited, or to be entered with "async with"."""

    def __init__(self, snapshot: Snapshot, *, fresh: bool, instance_id: Optional[UUID]) -> None:
        self._snapshot = snapshot
        self._fresh = fresh
        self._instance_id = instance_id
        self._sandbox: Optional[AsyncSandbox] = None

    def __await__(self) -> Generator[Any, None, AsyncSandbox]:
        return self._fork().__await__()

    async def _fork(self) -> AsyncSandbox:
        fork = partial(self._snapshot.fork, fresh=self._fresh, instance_id=self._instance_id)
        return AsyncSandbox(await _call(fork, unwanted=Sandbox.close))

    async def __aenter__(self) -> AsyncSandbox:
        self._sandbox = await self._fork()
        return self._sandbox

    async def __aexit__(self, *_: object) -> None:
        if self._sandbox is not None:
            await self._sandbox.close()


class _Relay:
    """Passes output on to the event loop's thread, in order, before the call's end gets there."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._error: Optional[BaseException] = None

    def of(self, name: str, sink: Optional[OnOutput]) -> Optional[OnOutput]:
        if sink is None:
            return None
        if not callable(sink):
            raise TypeError(f"{name} must be callable, not {type(sink).__name__}")
        post = asyncio.get_running_loop().call_soon_threadsafe
        deliver = partial(self._deliver, sink)
        context = copy_context()
        return lambda piece: post(partial(context.run, deliver, piece))

    def _deliver(self, sink: OnOutput, piece: bytes) -> None:
        if self._error is not None:
            return
        try:
            sink(piece)
        except BaseException as error:  # check() raises it, where the caller waits.
            self._error = error
            self._cancel.trigger()

    def check(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error


async def _call(
    function: Callable[[], T],
    stop: Optional[Callable[[], None]] = None,
    unwanted: Optional[Callable[[T], None]] = None,
    certain: bool = False,
) -> T:
    """Calls in a thread of the pool. A cancelled call is waited for all the same.

    stop: ends a call that is under way.
    unwanted: disposes of what nobody waits for any more.
    certain: the call is made even when it is cancelled before it begins.
    """
    submitted = _pool().submit(function)
    future = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not certain and submitted.cancel():
            raise  # It had not begun.
        if stop is not None:
            stop()
        await _settled(future)
        if unwanted is not None and not future.cancelled() and future.exception() is None:
            await _settled(asyncio.wrap_future(_pool().submit(unwanted, future.result())))
        raise


async def _settled(future: "asyncio.Future[Any]") -> None:
    """Waits for its end, whatever it is, also when cancelled over and over."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # Seen, so that asyncio does not report it.


_executor: Optional[ThreadPoolExecutor] = None


def _pool() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="zeroboot")
    return _executor


def _forget() -> None:
    """In a child of os.fork, which has none of the threads."""
    global _executor
    _executor = None


os.register_at_fork(after_in_child=_forget)
