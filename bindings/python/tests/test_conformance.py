"""The table that all languages' wrappers pass: tests/conformance."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

import zeroboot

TABLE = Path(__file__).parents[3] / "tests" / "conformance" / "cases.json"
CASES: List[Dict[str, Any]] = json.loads(TABLE.read_text())
OPTIONS = {"timeout_ms", "max_output_bytes"}
FIELDS = {
    "name", "code", "code_repeat", "runs", "options", "outcome", "exit_code", "signal", "stdout", "stderr",
    "stdout_hex", "stdout_contains", "stderr_contains", "stdout_sha256", "stdout_len", "alive", "error",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_case_of_the_table_gives_what_it_says(
    case: Dict[str, Any], sandbox: zeroboot.Sandbox
) -> None:
    for run in case.get("runs", [case]):
        assert set(run) <= FIELDS, "a field that this test does not know"
        check(run, sandbox)


def check(case: Dict[str, Any], sandbox: zeroboot.Sandbox) -> None:
    if "error" in case:
        with pytest.raises(zeroboot.ZerobootError) as caught:
            run(case, sandbox)
        assert caught.value.status == zeroboot.Status[case["error"]]
        return
    result = run(case, sandbox)
    outcome = case["outcome"]
    assert result.outcome.name.lower() == outcome, result
    has_exit_code = outcome in ("exited", "process_exited")
    assert result.exit_code == (case.get("exit_code", 0) if has_exit_code else None)
    assert result.signal == (case["signal"] if outcome == "signaled" else None)
    if "stdout" in case:
        assert result.stdout == case["stdout"].encode()
    if "stderr" in case:
        assert result.stderr == case["stderr"].encode()
    if "stdout_hex" in case:
        assert result.stdout.hex() == case["stdout_hex"]
    if "stdout_len" in case:
        assert len(result.stdout) == case["stdout_len"]
    if "stdout_sha256" in case:
        assert hashlib.sha256(result.stdout).hexdigest() == case["stdout_sha256"]
    in_order(case.get("stdout_contains", []), result.text)
    in_order(case.get("stderr_contains", []), result.stderr_text)
    assert sandbox.alive == case.get("alive", outcome == "exited")


def run(case: Dict[str, Any], sandbox: zeroboot.Sandbox) -> zeroboot.Result:
    given = case.get("options", {})
    assert set(given) <= OPTIONS, "an option that this test does not know"
    options: Dict[str, Any] = {}
    if "timeout_ms" in given:
        options["timeout"] = given["timeout_ms"] / 1000
    if "max_output_bytes" in given:
        options["max_output"] = given["max_output_bytes"]
    if "code_repeat" in case:
        text, times = case["code_repeat"]
        return sandbox.run(text * times, **options)
    return sandbox.run(case["code"], **options)


def in_order(parts: List[str], text: str) -> None:
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"no {part!r} from {at} on in {text!r}"
        at = found + len(part)
