"""The face for asyncio."""

import asyncio
import threading
import time
import uuid
from typing import Any, Awaitable, Callable, List

import pytest

import zeroboot
from zeroboot import Outcome, aio

FOREVER = "print('begun', flush=True)\nwhile True: pass"


def test_a_sandbox_is_entered_or_awaited(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        async with snapshot.fork_async() as entered:
            assert (await entered.run("print(1)")).stdout == b"1\n" and entered.alive
        assert entered.closed
        name = uuid.uuid4()
        awaited = await snapshot.fork_async(fresh=True, instance_id=name)
        assert awaited.instance_id == name
        async with awaited:
            assert (await awaited.run("print(2)", check=True)).stdout == b"2\n"
        await awaited.close()
        with pytest.raises(zeroboot.ClosedError):
            await awaited.run("print(3)")
        with pytest.raises(zeroboot.ClosedError):
            async with awaited:
                pass

    asyncio.run(main())


def test_100_sandboxes_run_at_once(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> List[int]:
        sandboxes = await asyncio.gather(*(snapshot.fork_async() for _ in range(100)))
        runs = (each.run(f"print({n}**2)", check=True) for n, each in enumerate(sandboxes))
        results = await asyncio.gather(*runs)
        assert all(each.alive for each in sandboxes)
        await asyncio.gather(*(each.close() for each in sandboxes))
        return [int(result.stdout) for result in results]

    assert asyncio.run(main()) == [n * n for n in range(100)]


def test_100_calls_are_under_way_at_once() -> None:
    everybody = threading.Barrier(100)

    async def main() -> None:
        # None of them ends before all of them have begun.
        await asyncio.gather(*(aio._call(lambda: everybody.wait(60)) for _ in range(100)))

    asyncio.run(main())


def test_the_event_loop_is_not_blocked_by_runs(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> float:
        async with snapshot.fork_async() as sandbox:
            run = asyncio.ensure_future(sandbox.run("while True: pass", timeout=0.5))
            longest, last = 0.0, time.monotonic()
            while not run.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert run.result().outcome is Outcome.TIMED_OUT
            return longest

    assert asyncio.run(main()) < 0.4


def test_cancelling_the_task_stops_the_run(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        begun = asyncio.Event()
        async with snapshot.fork_async() as sandbox:
            run = asyncio.ensure_future(
                sandbox.run(FOREVER, on_stdout=lambda _: begun.set())
            )
            await begun.wait()
            cancelled = time.monotonic()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert time.monotonic() - cancelled < 10
            # It was waited for: the sandbox is not busy but dead.
            with pytest.raises(zeroboot.DeadError):
                await sandbox.run("print(1)")

    asyncio.run(main())


def test_wait_for_stops_the_run(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        async with snapshot.fork_async() as sandbox:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.run("while True: pass"), 0.2)
            assert not sandbox.alive

    asyncio.run(main())


def test_a_task_may_be_cancelled_over_and_over(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        begun = asyncio.Event()
        async with snapshot.fork_async() as sandbox:
            run = asyncio.ensure_future(
                sandbox.run(FOREVER, on_stdout=lambda _: begun.set())
            )
            await begun.wait()
            while not run.done():
                run.cancel()
                await asyncio.sleep(0)
            assert run.cancelled()

    asyncio.run(main())


def test_a_cancelled_fork_leaves_no_sandbox(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        for turns in range(20):
            fork = asyncio.ensure_future(snapshot.fork_async().__aenter__())
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            fork.cancel()
            try:
                await (await fork).close()
            except asyncio.CancelledError:
                pass

    asyncio.run(main())  # A sandbox that is dropped would give a ResourceWarning, which fails.


def test_output_comes_in_the_loops_thread_before_the_end(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        pieces: List[bytes] = []
        threads = set()

        def on_stdout(piece: bytes) -> None:
            pieces.append(piece)
            threads.add(threading.get_ident())
            asyncio.get_running_loop()

        async with snapshot.fork_async() as sandbox:
            result = await sandbox.run("for i in range(1000): print(i)", on_stdout=on_stdout)
            assert b"".join(pieces) == result.stdout and threads == {threading.get_ident()}

    asyncio.run(main())


def test_what_a_callback_raises_comes_out_unchanged(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        error = LookupError("mine")

        def fail(_: bytes) -> None:
            raise error

        async with snapshot.fork_async() as sandbox:
            with pytest.raises(LookupError) as caught:
                await sandbox.run(FOREVER, on_stderr=print, on_stdout=fail)
            assert caught.value is error

    asyncio.run(main())


def test_a_token_and_a_close_stop_a_run(snapshot: zeroboot.Snapshot) -> None:
    async def stopped_by(stop: Callable[[Any, zeroboot.Cancel], Awaitable[None]]) -> Outcome:
        begun = asyncio.Event()
        cancel = zeroboot.Cancel()
        async with snapshot.fork_async() as sandbox:
            run = asyncio.ensure_future(
                sandbox.run(FOREVER, cancel=cancel, on_stdout=lambda _: begun.set())
            )
            await begun.wait()
            await stop(sandbox, cancel)
            return (await run).outcome

    async def trigger(_: Any, cancel: zeroboot.Cancel) -> None:
        cancel.trigger()

    async def close(sandbox: Any, _: zeroboot.Cancel) -> None:
        await sandbox.close()

    assert asyncio.run(stopped_by(trigger)) is Outcome.CANCELLED
    assert asyncio.run(stopped_by(close)) is Outcome.CANCELLED


def test_wrong_types_are_refused(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        async with snapshot.fork_async() as sandbox:
            wrong: Any
            for wrong in ({"cancel": 1}, {"on_stdout": 1}, {"timeout": "1"}):
                with pytest.raises(TypeError):
                    await sandbox.run("print(1)", **wrong)
            assert (await sandbox.run("print(1)")).ok

    asyncio.run(main())


def test_errors_come_out_of_await(snapshot: zeroboot.Snapshot) -> None:
    async def main() -> None:
        async with snapshot.fork_async() as sandbox:
            with pytest.raises(zeroboot.RunTimeout):
                await sandbox.run("while True: pass", timeout=0.1, check=True)

    asyncio.run(main())
