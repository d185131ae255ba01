// The table that every language's wrapper runs: see tests/conformance in the repository.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import zeroboot from 'zeroboot';
import { repository, template } from './common.mjs';

const table = path.join(repository, 'tests/conformance/cases.json');
const cases = JSON.parse(fs.readFileSync(table, 'utf8'));
const KNOWN = ['name', 'code', 'code_repeat', 'options', 'outcome', 'exit_code', 'signal', 'stdout', 'stderr',
  'stdout_hex', 'stdout_contains', 'stderr_contains', 'stdout_sha256', 'stdout_len', 'alive', 'error', 'runs'];

function options({ timeout_ms: timeoutMs, max_output_bytes: maxOutputBytes, ...others } = {}) {
  assert.deepEqual(Object.keys(others), [], 'options that this test does not know');
  return { timeoutMs, maxOutputBytes };
}

function assertInOrder(text, parts = []) {
  let at = 0;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    assert.notEqual(found, -1, `no ${JSON.stringify(part)} after ${at} in ${JSON.stringify(text)}`);
    at = found + part.length;
  }
}

function assertOutput(expected, result) {
  if (expected.stdout !== undefined) assert.equal(result.stdoutText, expected.stdout);
  if (expected.stderr !== undefined) assert.equal(result.stderrText, expected.stderr);
  if (expected.stdout_hex !== undefined) assert.equal(result.stdout.toString('hex'), expected.stdout_hex);
  if (expected.stdout_len !== undefined) assert.equal(result.stdout.length, expected.stdout_len);
  if (expected.stdout_sha256 !== undefined) {
    assert.equal(createHash('sha256').update(result.stdout).digest('hex'), expected.stdout_sha256);
  }
  assertInOrder(result.stdoutText, expected.stdout_contains);
  assertInOrder(result.stderrText, expected.stderr_contains);
}

async function check(sandbox, expected) {
  for (const key of Object.keys(expected)) assert.ok(KNOWN.includes(key), `a field that this test does not know: ${key}`);
  const code = expected.code ?? expected.code_repeat[0].repeat(expected.code_repeat[1]);
  const run = sandbox.run(code, options(expected.options));
  if (expected.error !== undefined) {
    await assert.rejects(run, { name: 'ZerobootError', code: `ZB_ERR_${expected.error}` });
    return;
  }
  const result = await run;
  assert.equal(result.outcome, expected.outcome, result.message);
  const exits = ['exited', 'process_exited'].includes(expected.outcome);
  assert.equal(result.exitCode, exits ? expected.exit_code ?? 0 : null);
  assert.equal(result.signal, expected.signal ?? null);
  assertOutput(expected, result);
  assert.equal(sandbox.alive, expected.alive ?? expected.outcome === 'exited');
}

describe('the conformance table', () => {
  let snapshot;
  before(async () => {
    snapshot = await zeroboot.load(template);
  });
  after(() => snapshot.close());

  for (const one of cases) {
    it(one.name, async () => {
      const sandbox = await snapshot.fork();
      try {
        for (const step of one.runs ?? [one]) await check(sandbox, step);
      } finally {
        await sandbox.close();
      }
    });
  }
});
