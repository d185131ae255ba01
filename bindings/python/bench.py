"""What Python adds to a run: the time of Sandbox.run, less the Result.elapsed of the library.

Prints a line of a Markdown table: | python, added to a run | p50 | p99 | max | n |
"""

import sys
import time
from typing import List

import zeroboot

WARM_UP = 500
ROUNDS = 5000


def main() -> None:
    template = sys.argv[1] if len(sys.argv) > 1 else zeroboot.template("python")
    with zeroboot.load(template) as snapshot, snapshot.fork() as sandbox:
        for _ in range(WARM_UP):
            sandbox.run("print(6*7)")
        samples = sorted(added(sandbox) for _ in range(ROUNDS))
    p50, p99, most = samples[ROUNDS // 2], samples[ROUNDS * 99 // 100], samples[-1]
    print(f"| python, added to a run | {us(p50)} | {us(p99)} | {us(most)} | {ROUNDS} |")


def added(sandbox: zeroboot.Sandbox) -> float:
    started = time.perf_counter()
    result = sandbox.run("print(6*7)")
    took = time.perf_counter() - started
    assert result.stdout == b"42\n"
    return took - result.elapsed


def us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us"


if __name__ == "__main__":
    main()
