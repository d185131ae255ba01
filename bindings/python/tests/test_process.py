"""What a process goes through: Ctrl-C, os.fork, exit, and many cycles."""

import gc
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import zeroboot


def interrupt(command: Any, *, number: int = signal.SIGINT) -> "tuple[float, str, str]":
    """Sends a signal when the program has said that it is ready; seconds until its end, output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            sent = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            return time.monotonic() - sent, out, err
        finally:
            process.kill()


READY = "sys.stdout.write('ready\\n'), sys.stdout.flush()"
FOREVER = "'print(1, flush=True)\\nwhile True: pass'"


def test_ctrl_c_stops_a_run_in_the_main_thread_and_is_raised_once(script: Any) -> None:
    # Another thread says when the guest is surely running: its output cannot say so without a callback.
    code = f"""
with zeroboot.load(sys.argv[1]) as snapshot, snapshot.fork() as sandbox, snapshot.fork() as after:
    threading.Timer(0.3, lambda: ({READY})).start()
    try:
        sandbox.run('while True: pass')
    except KeyboardInterrupt:
        print('interrupted', sandbox.alive, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    print(after.run('print(2)').text)
    print(signal.set_wakeup_fd(-1))
"""
    took, out, err = interrupt(script.command(code))
    assert (out, err) == ("interrupted False True\n2\n\n-1\n", "")
    assert took < 10, f"{took} s"


def test_ctrl_c_stops_a_run_that_streams(script: Any) -> None:
    code = f"""
with zeroboot.load(sys.argv[1]) as snapshot, snapshot.fork() as sandbox:
    said = []
    def on_stdout(piece):
        said or said.append(({READY}))
    try:
        sandbox.run("while True: print('x' * 1000)", max_output=None, on_stdout=on_stdout)
    except KeyboardInterrupt:
        print('interrupted', sandbox.alive)
"""
    for _ in range(5):
        took, out, err = interrupt(script.command(code))
        assert (out, err) == ("interrupted False\n", "")
        assert took < 10, f"{took} s"


def test_ctrl_c_interrupts_a_callback_that_waits(script: Any) -> None:
    code = f"""
with zeroboot.load(sys.argv[1]) as snapshot, snapshot.fork() as sandbox:
    def on_stdout(piece):
        {READY}
        threading.Event().wait()
    try:
        sandbox.run({FOREVER}, on_stdout=on_stdout)
    except KeyboardInterrupt:
        print('interrupted', sandbox.alive)
"""
    assert interrupt(script.command(code))[1:] == ("interrupted False\n", "")


def test_ctrl_c_in_a_run_does_not_trigger_the_programs_token(script: Any) -> None:
    code = f"""
cancel = zeroboot.Cancel()
with zeroboot.load(sys.argv[1]) as snapshot, snapshot.fork() as sandbox:
    try:
        sandbox.run({FOREVER}, cancel=cancel, on_stdout=lambda _: ({READY}))
    except KeyboardInterrupt:
        print('interrupted', cancel.triggered)
"""
    assert interrupt(script.command(code))[1:] == ("interrupted False\n", "")


def test_a_handler_of_the_programs_own_does_not_stop_the_run(script: Any) -> None:
    code = f"""
signal.signal(signal.SIGINT, lambda *_: print('handled'))
with zeroboot.load(sys.argv[1]) as snapshot, snapshot.fork() as sandbox:
    result = sandbox.run({FOREVER}, timeout=0.5, on_stdout=lambda _: ({READY}))
    print(result.outcome.name)
"""
    assert interrupt(script.command(code))[1:] == ("handled\nTIMED_OUT\n", "")


def test_ctrl_c_ends_an_asyncio_program_with_runs_in_flight(script: Any) -> None:
    code = f"""
import asyncio
async def main():
    async with snapshot.fork_async() as sandbox:
        await sandbox.run({FOREVER}, on_stdout=lambda _: ({READY}))
with zeroboot.load(sys.argv[1]) as snapshot:
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print('interrupted')
"""
    took, out, err = interrupt(script.command(code))
    assert (out, err) == ("interrupted\n", "")
    assert took < 10, f"{took} s"


def test_a_child_of_fork_gets_an_error_and_can_load_its_own(script: Any) -> None:
    code = """
import warnings; warnings.simplefilter('ignore', DeprecationWarning)
import asyncio
async def once(snapshot):
    async with snapshot.fork_async() as sandbox:
        return (await sandbox.run('print(3)')).stdout
snapshot = zeroboot.load(sys.argv[1]); sandbox = snapshot.fork()
assert sandbox.run('print(1)').ok and asyncio.run(once(snapshot)) == b'3\\n'
child = os.fork()
if child == 0:
    for call in (snapshot.fork, lambda: sandbox.run('print(1)')):
        try:
            call()
        except zeroboot.WrongProcessError as error:
            print(error.status.name)
    print(sandbox.alive)
    sandbox.close(); snapshot.close()
    with zeroboot.load(sys.argv[1]) as own, own.fork() as forked:
        print(forked.run('print(2)').text, asyncio.run(once(own)))
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print('parent', sandbox.run('print(1)').ok)
sandbox.close(); snapshot.close()
"""
    expected = "WRONG_PROCESS\nWRONG_PROCESS\nFalse\n2\n b'3\\n'\nparent True\n"
    assert script.prints(code) == expected


def test_a_child_that_is_forked_during_a_run_can_close_the_sandbox(script: Any) -> None:
    code = """
import warnings; warnings.simplefilter('ignore', DeprecationWarning)
snapshot = zeroboot.load(sys.argv[1]); sandbox = snapshot.fork()
begun = threading.Event(); cancel = zeroboot.Cancel()
thread = threading.Thread(target=lambda: sandbox.run('print(1, flush=True)\\nwhile True: pass',
    cancel=cancel, on_stdout=lambda _: begun.set()))
thread.start(); begun.wait()
child = os.fork()
if child == 0:
    cancel.trigger(); sandbox.close(); snapshot.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(sandbox.alive)
cancel.trigger(); thread.join(); sandbox.close(); snapshot.close()
"""
    assert script.prints(code) == "True\n"


def test_a_process_may_end_with_everything_open(script: Any) -> None:
    code = """
snapshot = zeroboot.load(sys.argv[1]); sandboxes = [snapshot.fork() for _ in range(3)]
for sandbox in sandboxes: sandbox.run('print(1)')
begun = threading.Event()
threading.Thread(target=lambda: sandboxes[0].run('print(1, flush=True)\\nwhile True: pass',
    on_stdout=lambda _: begun.set()), daemon=True).start()
begun.wait()
print('end')
"""
    assert script.run(code).stdout == "end\n"


def test_importing_loads_no_asyncio_and_starts_no_thread(script: Any) -> None:
    assert script.prints("print('asyncio' in sys.modules, threading.active_count())") == "False 1\n"


def test_a_library_that_is_missing_or_another_is_an_import_error(tmp_path: Any) -> None:
    source = os.path.dirname(zeroboot.__file__)
    package = tmp_path / "zeroboot"
    package.mkdir()
    for name in os.listdir(source):
        if name.endswith(".py"):
            (package / name).symlink_to(os.path.join(source, name))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for named, message in (
        (None, "ZEROBOOT_LIBRARY is not set"),
        ("/nonexistent.so", "/nonexistent.so"),
        ("libc.so.6", "lacks zb_version"),
    ):
        environment.pop("ZEROBOOT_LIBRARY", None)
        if named:
            environment["ZEROBOOT_LIBRARY"] = named
        done = subprocess.run(
            [sys.executable, "-c", "import zeroboot"],
            env=environment,
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 1 and "ImportError" in done.stderr and message in done.stderr
    environment["ZEROBOOT_LIBRARY"] = os.path.join(source, "libzeroboot.so")
    subprocess.run([sys.executable, "-c", "import zeroboot"], env=environment, check=True, cwd="/")


def counts() -> "tuple[int, int, int]":
    """Open files, mappings, kilobytes of memory."""
    gc.collect()
    with open("/proc/self/maps") as maps, open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return len(os.listdir("/proc/self/fd")), len(maps.readlines()), memory


@pytest.mark.parametrize("cycles", [10000])
def test_many_cycles_leave_files_mappings_and_memory_as_they_were(cycles: int, template: str) -> None:
    def cycle(snapshot: zeroboot.Snapshot, number: int) -> None:
        with snapshot.fork() as sandbox:
            if number % 10 == 0:
                sandbox.run("print(1)", check=True, on_stdout=bytes.upper, cancel=zeroboot.Cancel())

    def all_cycles(count: int) -> None:
        # What is recycled is there until the snapshot is closed.
        with zeroboot.load(template) as snapshot:
            for number in range(count):
                cycle(snapshot, number)

    all_cycles(500)
    before = counts()
    all_cycles(cycles)
    after = counts()
    assert after[0] == before[0]
    assert after[1] <= before[1] + 20
    assert after[2] <= before[2] + 8192, f"kilobytes: {before[2]} -> {after[2]}"


def test_many_loads_leave_files_and_memory_as_they_were(template: str) -> None:
    for _ in range(50):
        zeroboot.load(template).close()
    before = counts()
    for _ in range(1000):
        zeroboot.load(template).close()
    after = counts()
    assert after[0] == before[0] and after[2] <= before[2] + 4096
