"""Virtual machines that are used again. One takes two files, so counting files tells of them."""

import os
import time
from typing import Any, Callable

import pytest

import zeroboot

LEAVE_MARKS = """
import builtins, os
print(hasattr(builtins, "mark"), os.path.exists("/tmp/mark"), "mark" in globals())
builtins.mark = mark = 1
open("/tmp/mark", "w").close()
"""
NONE = "False False False\n"


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    """The library's."""
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(comm.read().strip())
        except OSError:
            pass  # It has ended.
    return names.count("zeroboot-keeper")


def becomes(count: Callable[[], int], expected: int) -> bool:
    """The library's thread works a little later."""
    end = time.monotonic() + 30
    while count() != expected and time.monotonic() < end:
        time.sleep(0.001)
    return count() == expected


@pytest.fixture(autouse=True)
def first_run(template: str) -> None:
    """For Ctrl-C, the package opens a pipe when a program is run for the first time."""
    with zeroboot.load(template) as snapshot, snapshot.fork() as sandbox:
        sandbox.run("")


def test_a_machine_is_used_again_and_has_nothing_of_the_program_before(template: str) -> None:
    with zeroboot.load(template, recycle_max=1) as snapshot:
        one = files() + 2
        reused = 0
        for number in range(1000):
            with snapshot.fork() as sandbox:
                # A new one, if the other is being put back at this moment.
                reused += number > 0 and files() == one
                assert sandbox.run(LEAVE_MARKS, check=True).text == NONE
            assert becomes(files, one)
            if reused == 5:
                break
        assert reused == 5
        with snapshot.fork(fresh=True) as sandbox:
            assert files() == one + 2
            assert sandbox.run(LEAVE_MARKS, check=True).text == NONE


@pytest.mark.parametrize("most", [2, 3])
def test_no_more_machines_are_kept_than_asked_for_and_none_after_the_snapshot(most: int, template: str) -> None:
    before = files()
    with zeroboot.load(template, recycle_max=most) as snapshot:
        loaded = files()
        sandboxes = [snapshot.fork() for _ in range(6)]
        for sandbox in sandboxes:
            sandbox.close()
        assert becomes(files, loaded + 2 * most)
        assert becomes(threads, 1)
    assert files() == before and becomes(threads, 0)


def test_without_recycling_nothing_is_kept_and_no_thread_is_there(template: str) -> None:
    with zeroboot.load(template, recycle_max=0) as snapshot:
        loaded = files()
        for _ in range(3):
            with snapshot.fork() as sandbox:
                assert sandbox.run(LEAVE_MARKS, check=True).text == NONE
            assert files() == loaded and threads() == 0


def test_machines_are_made_ahead(template: str) -> None:
    before = files()
    with zeroboot.load(template, recycle_max=0) as snapshot:
        loaded = files()
    with zeroboot.load(template, recycle_max=0, prewarm=2) as snapshot:
        assert becomes(files, loaded + 2 * 2)
        with snapshot.fork() as sandbox:
            assert becomes(files, loaded + 3 * 2)
            assert sandbox.run(LEAVE_MARKS, check=True).text == NONE
    assert files() == before


@pytest.mark.parametrize("option", ["recycle_max", "prewarm"])
def test_numbers_of_machines_that_make_no_sense_are_refused(option: str, template: str) -> None:
    def load(value: Any) -> None:
        zeroboot.load(template, **{option: value})

    for value in (-1, 2**32 - 1, 2**64):
        with pytest.raises(ValueError, match=f"{option} must be from 0 to 4294967294: {value}"):
            load(value)
    for other in ("1", 1.0, b""):
        with pytest.raises(TypeError, match=f"{option} must be an int, not {type(other).__name__}"):
            load(other)
    zeroboot.load(template, recycle_max=2**32 - 2).close()
