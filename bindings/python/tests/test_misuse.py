"""Closed handles, wrong types, use from everywhere at once."""

import gc
import threading
import warnings
from typing import Any, Callable, Dict, List

import pytest

import zeroboot
from zeroboot import Outcome

FOREVER = "print('begun', flush=True)\nwhile True: pass"


class Background:
    """A run that goes on in another thread until it is stopped."""

    def __init__(self, sandbox: zeroboot.Sandbox, **options: Any) -> None:
        self._begun = threading.Event()
        self._ended: List[Any] = []
        self._options = options
        self._thread = threading.Thread(target=self._run, args=(sandbox,))
        self._thread.start()
        assert self._begun.wait(60)

    def _run(self, sandbox: zeroboot.Sandbox) -> None:
        try:
            on_stdout: Callable[[bytes], object] = lambda _: self._begun.set()
            self._ended.append(sandbox.run(FOREVER, on_stdout=on_stdout, **self._options))
        except BaseException as error:
            self._ended.append(error)

    def end(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._ended[0]


def test_closing_twice_does_nothing(template: str) -> None:
    snapshot = zeroboot.load(template)
    sandbox = snapshot.fork()
    for _ in range(3):
        sandbox.close()
        snapshot.close()
    assert sandbox.closed and snapshot.closed and not sandbox.alive
    assert "closed" in repr(sandbox) and "closed" in repr(snapshot)


def test_a_closed_sandbox_runs_nothing(snapshot: zeroboot.Snapshot) -> None:
    with snapshot.fork() as sandbox:
        pass
    with pytest.raises(zeroboot.ClosedError, match="the sandbox is closed") as caught:
        sandbox.run("print(1)")
    assert isinstance(caught.value, ValueError)
    assert caught.value.status is zeroboot.Status.INVALID_ARGUMENT
    with pytest.raises(zeroboot.ClosedError), sandbox:
        pass


def test_a_closed_snapshot_forks_nothing(template: str) -> None:
    with zeroboot.load(template) as snapshot:
        pass
    with pytest.raises(zeroboot.ClosedError, match="the snapshot is closed"):
        snapshot.fork()
    with pytest.raises(zeroboot.ClosedError), snapshot:
        pass


def test_a_sandbox_outlives_its_snapshot(template: str) -> None:
    snapshot = zeroboot.load(template)
    with snapshot.fork() as sandbox:
        snapshot.close()
        del snapshot
        gc.collect()
        assert sandbox.run("print(1)").ok


def test_what_is_dropped_is_freed_with_a_warning(template: str) -> None:
    snapshot = zeroboot.load(template)
    sandbox = snapshot.fork()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del snapshot
        gc.collect()
        assert sandbox.run("print(1)").ok
        del sandbox
        gc.collect()
    assert [(str(w.message), w.category) for w in caught] == [
        ("a zeroboot snapshot was never closed", ResourceWarning),
        ("a zeroboot sandbox was never closed", ResourceWarning),
    ]


def test_dropping_a_sandbox_while_it_runs_does_not_disturb_the_run(template: str) -> None:
    cancel = zeroboot.Cancel()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = Background(zeroboot.load(template).fork(), cancel=cancel)
        gc.collect()
        cancel.trigger()
        assert run.end().outcome is Outcome.CANCELLED
        del run
        gc.collect()
    assert len(caught) == 2


def test_closing_a_sandbox_cancels_its_run_and_waits(snapshot: zeroboot.Snapshot) -> None:
    sandbox = snapshot.fork()
    run = Background(sandbox)
    closers = [threading.Thread(target=sandbox.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    sandbox.close()
    assert run.end().outcome is Outcome.CANCELLED
    for closer in closers:
        closer.join()


def test_closing_a_sandbox_that_has_a_token_cancels_its_run_only(snapshot: zeroboot.Snapshot) -> None:
    cancel = zeroboot.Cancel()
    sandbox = snapshot.fork()
    run = Background(sandbox, cancel=cancel)
    sandbox.close()
    assert run.end().outcome is Outcome.CANCELLED and not cancel.triggered


def test_closing_a_sandbox_in_its_callback_ends_the_run(snapshot: zeroboot.Snapshot) -> None:
    sandbox = snapshot.fork()
    result = sandbox.run(FOREVER, on_stdout=lambda _: sandbox.close())
    assert result.outcome is Outcome.CANCELLED and sandbox.closed


def test_a_second_run_at_the_same_time_is_refused(sandbox: zeroboot.Sandbox) -> None:
    cancel = zeroboot.Cancel()
    run = Background(sandbox, cancel=cancel)
    with pytest.raises(zeroboot.BusyError):
        sandbox.run("print(1)")
    assert sandbox.alive
    cancel.trigger()
    assert run.end().outcome is Outcome.CANCELLED


def test_a_callback_cannot_run_its_own_sandbox(sandbox: zeroboot.Sandbox) -> None:
    with pytest.raises(zeroboot.BusyError):
        sandbox.run("print(1)", on_stdout=lambda _: sandbox.run("print(2)"))


WRONG: List[Dict[str, Any]] = [
    {"code": None},
    {"code": 7},
    {"code": bytearray(b"1")},
    {"timeout": "2"},
    {"timeout": b""},
    {"max_output": 1.5},
    {"max_output": "1"},
    {"on_stdout": 1},
    {"on_stderr": "print"},
    {"cancel": threading.Event()},
    {"surprise": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_type_is_refused_and_nothing_is_run(
    wrong: Dict[str, Any], sandbox: zeroboot.Sandbox
) -> None:
    with pytest.raises(TypeError):
        sandbox.run(**{"code": "print(1)", **wrong})
    assert sandbox.run("print(1)").ok


@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"timeout": float("nan")}, {"max_output": 0}, {"max_output": -5}], ids=str
)
def test_a_wrong_value_is_refused_and_nothing_is_run(
    wrong: Dict[str, Any], sandbox: zeroboot.Sandbox
) -> None:
    with pytest.raises(ValueError):
        sandbox.run("print(1)", **wrong)
    assert sandbox.run("print(1)").ok


@pytest.mark.parametrize("path", [None, 7, object()], ids=str)
def test_a_path_of_a_wrong_type_is_refused(path: Any) -> None:
    with pytest.raises(TypeError):
        zeroboot.load(path)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_makes_no_sense_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        zeroboot.load(path)


def test_text_that_is_no_unicode_is_refused(sandbox: zeroboot.Sandbox) -> None:
    with pytest.raises(UnicodeEncodeError):
        sandbox.run("print('\ud800')")
