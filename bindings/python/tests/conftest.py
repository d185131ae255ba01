"""What all tests share: the template, and a fork of it."""

import os
import signal
import subprocess
import sys
from typing import Iterator

import pytest

import zeroboot

# Whoever runs the tests in the background may have it ignored, and programs that the tests start would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

TEMPLATE = os.environ.get("ZEROBOOT_TEST_TEMPLATE") or zeroboot.template("python")


@pytest.fixture(scope="module")
def snapshot() -> Iterator[zeroboot.Snapshot]:
    # Not for longer than a module: tests that count files do not want what it keeps for later forks.
    with zeroboot.load(TEMPLATE) as loaded:
        yield loaded


@pytest.fixture
def sandbox(snapshot: zeroboot.Snapshot) -> Iterator[zeroboot.Sandbox]:
    with snapshot.fork() as forked:
        yield forked


@pytest.fixture
def template() -> str:
    return TEMPLATE


class Script:
    """A program in a process of its own: argv[1] is the template."""

    def run(self, code: str, *, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(code), capture_output=True, text=True, timeout=timeout, check=False, cwd="/"
        )

    def prints(self, code: str) -> str:
        done = self.run(code)
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout

    def command(self, code: str) -> "list[str]":
        preamble = "import os, signal, sys, threading, zeroboot\n"
        return [sys.executable, "-W", "error", "-c", preamble + code, TEMPLATE]


@pytest.fixture
def script() -> Script:
    return Script()
