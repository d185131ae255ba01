"""Many threads."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import List

import zeroboot
from zeroboot import Outcome


def test_threads_fork_and_run_at_once(snapshot: zeroboot.Snapshot) -> None:
    def square(n: int) -> int:
        with snapshot.fork() as sandbox:
            return int(sandbox.run(f"print({n}**2)", check=True).stdout)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(square, range(64))) == [n * n for n in range(64)]


def test_other_threads_run_while_one_is_in_a_guest(snapshot: zeroboot.Snapshot) -> None:
    begun = threading.Barrier(2)
    cancel = zeroboot.Cancel()
    ended: List[zeroboot.Result] = []

    def run() -> None:
        with snapshot.fork() as sandbox:
            code = "print(1, flush=True)\nwhile True: pass"
            ended.append(sandbox.run(code, cancel=cancel, on_stdout=lambda _: begun.wait(60)))

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(60)
    # All of this happens while the other thread is inside the library.
    assert sum(range(100000)) == 4999950000 and thread.is_alive() and not ended
    cancel.trigger()
    thread.join()
    assert ended[0].outcome is Outcome.CANCELLED


def test_runs_cancels_and_closes_in_any_order_end_well(snapshot: zeroboot.Snapshot) -> None:
    def life(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            sandbox = snapshot.fork()
            cancel = zeroboot.Cancel()
            stop = chance.choice([sandbox.close, cancel.trigger, lambda: None])
            other = threading.Thread(target=stop)
            other.start()
            try:
                code = chance.choice(["print(1)", "while True: pass"])
                result = sandbox.run(code, cancel=cancel, timeout=chance.choice([0.05, 0.3]))
                assert result.outcome in (Outcome.EXITED, Outcome.CANCELLED, Outcome.TIMED_OUT)
            except zeroboot.ClosedError:
                assert stop == sandbox.close
            other.join()
            sandbox.close()
            assert sandbox.closed and not sandbox.alive

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(life, seed) for seed in range(8)]:
            done.result()
