"""What run() takes, gives and raises."""

import logging
import math
import os
import pickle
import threading
import time
import uuid
from pathlib import Path
from typing import Any, List

import pytest

import zeroboot
from zeroboot import Outcome

FOREVER = "print('begun', flush=True)\nwhile True: pass"


def test_a_result_has_bytes_text_and_time(sandbox: zeroboot.Sandbox) -> None:
    result = sandbox.run("import sys; print('é'); sys.stderr.write('x')")
    assert result.outcome is Outcome.EXITED and result.ok and result.exit_code == 0
    assert (result.stdout, result.text) == ("é\n".encode(), "é\n")
    assert (result.stderr, result.stderr_text) == (b"x", "x")
    assert 0 < result.elapsed < 60 and result.signal is None and "exited" in result.message


def test_bytes_that_are_no_text_can_be_looked_at_as_text(sandbox: zeroboot.Sandbox) -> None:
    assert sandbox.run("import os; os.write(1, b'a\\xffb')").text == "a\ufffdb"


def test_a_program_may_be_bytes_and_have_a_nul(sandbox: zeroboot.Sandbox) -> None:
    assert sandbox.run(b"print(1)").stdout == b"1\n"
    assert sandbox.run("x = 1 # a\0b\nprint('after')").exit_code == 1


def test_check_returns_a_result_that_is_good(sandbox: zeroboot.Sandbox) -> None:
    assert sandbox.run("print(1)", check=True).stdout == b"1\n"


def test_check_raises_for_an_exit_code(sandbox: zeroboot.Sandbox) -> None:
    with pytest.raises(zeroboot.RunFailed) as caught:
        sandbox.run("print('out')\nraise ValueError('why')", check=True)
    assert not isinstance(caught.value, TimeoutError)
    assert (caught.value.exit_code, caught.value.stdout) == (1, b"out\n")
    assert b"ValueError" in caught.value.stderr and str(caught.value).endswith("ValueError: why")
    assert sandbox.run("print(2)").ok


def test_check_raises_for_a_signal_and_names_it(sandbox: zeroboot.Sandbox) -> None:
    with pytest.raises(zeroboot.RunFailed, match="SIGKILL") as caught:
        sandbox.run("import os; os.kill(os.getpid(), 9)", check=True)
    assert (caught.value.outcome, caught.value.signal) == (Outcome.SIGNALED, 9)


def test_check_raises_for_a_timeout_with_the_output_until_then(sandbox: zeroboot.Sandbox) -> None:
    with pytest.raises(zeroboot.RunTimeout) as caught:
        sandbox.run(FOREVER, timeout=0.2, check=True)
    assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, zeroboot.RunFailed)
    assert caught.value.stdout == b"begun\n" and caught.value.outcome is Outcome.TIMED_OUT


def test_exceptions_can_be_pickled(sandbox: zeroboot.Sandbox) -> None:
    late = zeroboot.RunTimeout(sandbox.run("while True: pass", timeout=0.1))
    with pytest.raises(zeroboot.DeadError) as caught:
        sandbox.run("")
    for error in (late, caught.value, zeroboot.NotFoundError(zeroboot.Status.NOT_FOUND, 2, "no")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


def test_a_timeout_of_zero_is_at_once(sandbox: zeroboot.Sandbox) -> None:
    assert sandbox.run("while True: pass", timeout=0).outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 2**80, 30])
def test_no_timeout_and_very_long_ones_are_accepted(timeout: Any, sandbox: zeroboot.Sandbox) -> None:
    assert sandbox.run("print(1)", timeout=timeout, max_output=None).ok


def test_output_comes_in_pieces_while_the_program_runs(sandbox: zeroboot.Sandbox) -> None:
    out: List[bytes] = []
    err: List[bytes] = []
    begun = threading.Event()
    cancel = zeroboot.Cancel()

    def on_stdout(piece: bytes) -> None:
        out.append(piece)
        if b"begun" in piece:
            begun.set()
            cancel.trigger()

    code = f"import sys; sys.stderr.write('e'); sys.stderr.flush()\n{FOREVER}"
    result = sandbox.run(code, on_stdout=on_stdout, on_stderr=err.append, cancel=cancel)
    assert result.outcome is Outcome.CANCELLED and begun.is_set()
    assert b"".join(out) == result.stdout == b"begun\n"
    assert b"".join(err) == result.stderr == b"e"


def test_one_callback_gets_one_stream(sandbox: zeroboot.Sandbox) -> None:
    err: List[bytes] = []
    code = "import sys; print('o'); print('e', file=sys.stderr)"
    assert sandbox.run(code, on_stderr=err.append).stdout == b"o\n"
    assert b"".join(err) == b"e\n"


def test_a_long_output_comes_whole_through_a_callback(sandbox: zeroboot.Sandbox) -> None:
    pieces: List[bytes] = []
    result = sandbox.run("print('0123456789' * 100000)", on_stdout=pieces.append)
    assert b"".join(pieces) == result.stdout and len(result.stdout) == 1000001


class Own(BaseException):
    """An exception that nobody else raises."""


@pytest.mark.parametrize("error", [ValueError("x"), Own(), SystemExit(3), KeyboardInterrupt()])
def test_what_a_callback_raises_ends_the_run_and_comes_out_unchanged(
    error: BaseException, sandbox: zeroboot.Sandbox
) -> None:
    def fail(_: bytes) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        sandbox.run(FOREVER, on_stdout=fail)
    assert caught.value is error and not sandbox.alive


def test_a_callback_may_run_another_sandbox(snapshot: zeroboot.Snapshot, sandbox: zeroboot.Sandbox) -> None:
    inner: List[bytes] = []

    def nested(_: bytes) -> None:
        with snapshot.fork() as other:
            other.run("print('inner')", on_stdout=inner.append)

    assert sandbox.run("print('outer')", on_stdout=nested).stdout == b"outer\n"
    assert inner == [b"inner\n"]


def test_a_token_stops_a_run_from_another_thread(sandbox: zeroboot.Sandbox) -> None:
    cancel = zeroboot.Cancel()
    begun = threading.Event()
    triggered: List[float] = []

    def stop() -> None:
        begun.wait()
        triggered.append(time.monotonic())
        cancel.trigger()

    stopper = threading.Thread(target=stop)
    stopper.start()
    result = sandbox.run(FOREVER, cancel=cancel, on_stdout=lambda _: begun.set())
    took = time.monotonic() - triggered[0]
    stopper.join()
    assert result.outcome is Outcome.CANCELLED and cancel.triggered
    assert took < 10, f"{took} s"


def test_a_token_is_sticky_and_serves_many_runs(snapshot: zeroboot.Snapshot) -> None:
    cancel = zeroboot.Cancel()
    with snapshot.fork() as first:
        assert first.run("print(1)", cancel=cancel).ok
    cancel.trigger()
    cancel.trigger()
    for _ in range(2):
        with snapshot.fork() as sandbox:
            assert sandbox.run("while True: pass", cancel=cancel).outcome is Outcome.CANCELLED


def test_a_token_that_is_triggered_after_its_run_stops_no_other(sandbox: zeroboot.Sandbox) -> None:
    cancel = zeroboot.Cancel()
    assert sandbox.run("print(1)", cancel=cancel).ok
    cancel.trigger()
    assert sandbox.run("print(2)").ok


def test_a_snapshot_says_what_it_is(snapshot: zeroboot.Snapshot, template: str) -> None:
    assert snapshot.runtime == "python" and snapshot.memory_bytes >= 1 << 26
    assert snapshot.path == template and template in repr(snapshot)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_path_may_be_text_bytes_or_a_path(kind: Any, template: str) -> None:
    with zeroboot.load(kind(template)) as loaded, loaded.fork(fresh=True) as sandbox:
        assert sandbox.run("print(1)").ok


def test_a_sandbox_has_the_name_that_it_was_given(snapshot: zeroboot.Snapshot) -> None:
    name = uuid.uuid4()
    with snapshot.fork(instance_id=name) as sandbox, snapshot.fork() as other:
        assert sandbox.instance_id == name != other.instance_id
        told = sandbox.run("print(open('/etc/machine-id').read(), end='')").stdout
        assert told == f"{name.hex}\n".encode()
    for wrong in ("x", b"0" * 16, 1):
        with pytest.raises(TypeError):
            snapshot.fork(instance_id=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        snapshot.fork(instance_id=uuid.UUID(int=0))


def test_a_snapshot_can_be_verified_and_copied(template: str) -> None:
    with zeroboot.load(template, verify=True, sealed_copy=True) as loaded, loaded.fork() as sandbox:
        assert sandbox.run("print(1)").ok


def test_a_missing_snapshot_is_an_error_with_its_errno(tmp_path: Path) -> None:
    with pytest.raises(zeroboot.NotFoundError) as caught:
        zeroboot.load(tmp_path / "none")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.status is zeroboot.Status.NOT_FOUND and caught.value.errno == 2
    assert "none" in str(caught.value) and caught.value.message == str(caught.value)


def test_a_file_that_is_no_snapshot_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(zeroboot.ZerobootError):
        zeroboot.load(tmp_path)


def test_an_unknown_status_or_outcome_of_a_newer_library_is_passed_on() -> None:
    error = zeroboot.errors.of(99, 0, "new")
    assert type(error) is zeroboot.ZerobootError and (error.status, error.errno) == (99, None)
    assert Outcome(77) == 77 and Outcome(77).name == "OUTCOME_77"


def test_the_log_goes_to_a_logger(
    snapshot: zeroboot.Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "of-this-test")
    for logger, lines in ((logging.getLogger("of-this-test"), 1), (None, 0)):
        caplog.clear()
        zeroboot.log_to(logger, logging.DEBUG)
        with snapshot.fork() as sandbox:
            sandbox.run("import os; os._exit(3)")
        of_guests = [r for r in caplog.records if r.name == "of-this-test.guest"]
        assert len([r for r in of_guests if "exited with code 3" in r.getMessage()]) == lines
