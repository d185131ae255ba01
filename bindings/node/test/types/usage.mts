// Usages that tsc compiles for Node 20 and the test then runs; what follows @ts-expect-error must not compile.
import assert from 'node:assert/strict';
import zeroboot, { AbortError, Result, RunError, Sandbox, Snapshot, ZerobootError, load } from 'zeroboot';
import type { ErrorCode, ForkOptions, LoadOptions, Outcome, OutputCallback, RunOptions } from 'zeroboot';

const template = process.argv[2] ?? '';

async function disposed(): Promise<[Snapshot, Sandbox]> {
  await using snapshot = await load(template);
  await using sandbox = await snapshot.fork({ fresh: true });
  assert.equal((await sandbox.run('print(6*7)')).stdoutText, '42\n');
  return [snapshot, sandbox];
}
for (const handle of await disposed()) assert.equal(handle.closed, true);

const loading: LoadOptions = { verify: true, sealedCopy: false, recycleMax: 2, prewarm: 0 };
const forking: ForkOptions = { instanceId: '0123456789abcdef0123456789abcdef' };
const snapshot: Snapshot = await zeroboot.load(new URL(`file://${template}`), loading);
const sandbox: Sandbox = await snapshot.fork(forking);
const runtime: string = snapshot.runtime;
const memory: number = snapshot.memoryBytes;
const text: string = zeroboot.version;
const most: number = zeroboot.maxRuns;
assert.ok(runtime && memory && text && most);

const pieces: Buffer[] = [];
const collect: OutputCallback = (piece) => pieces.push(piece);
const options: RunOptions = {
  timeoutMs: 10_000,
  maxOutputBytes: Infinity,
  signal: new AbortController().signal,
  onStdout: collect,
  onStderr: async (piece: Buffer) => void piece.length,
  check: true,
};
const result: Result = await sandbox.run(Buffer.from('print("x")'), options);
const outcome: Outcome = result.outcome;
const exitCode: number | null = result.exitCode;
const signal: number | null = result.signal;
const fields: [Buffer, Buffer, number, string, boolean, string] = [
  result.stdout, result.stderr, result.elapsedMs, result.message, result.ok, result.stderrText,
];
assert.deepEqual([outcome, exitCode, signal, fields[0]], ['exited', 0, null, Buffer.concat(pieces)]);
await sandbox.run('', { timeoutMs: undefined });

try {
  await sandbox.run('1/0', { check: true });
  assert.fail();
} catch (error) {
  assert.ok(error instanceof RunError && error instanceof ZerobootError);
  const partial: Result = error.result;
  assert.equal(partial.exitCode, 1);
}
try {
  await sandbox.run('', { signal: AbortSignal.abort() });
  assert.fail();
} catch (error) {
  assert.ok(error instanceof AbortError);
  const name: 'AbortError' = error.name;
  const partial: Result | undefined = error.result;
  assert.deepEqual([name, error.code, partial], ['AbortError', 'ABORT_ERR', undefined]);
}
try {
  await load('/nonexistent/template');
  assert.fail();
} catch (error) {
  assert.ok(error instanceof ZerobootError);
  const expected: ErrorCode = 'ZB_ERR_NOT_FOUND';
  const number: number | undefined = error.errno;
  assert.deepEqual([error.code, number], [expected, 2]);
}
await sandbox.close();
await snapshot.close();

export async function mustNotCompile(): Promise<void> {
  // @ts-expect-error
  await load(1);
  // @ts-expect-error
  await load('x', { verfy: true });
  // @ts-expect-error
  await load('x', { recycleMax: '2' });
  // @ts-expect-error
  await load('x', { prewarm: null });
  // @ts-expect-error
  await snapshot.fork({ fresh: 'yes' });
  // @ts-expect-error
  await sandbox.run();
  // @ts-expect-error
  await sandbox.run('x', { timeoutMs: 1n });
  // @ts-expect-error
  await sandbox.run('x', { timeout: 1 });
  // @ts-expect-error
  await sandbox.run('x', { onStdout: (piece: string) => piece });
  // @ts-expect-error
  new Sandbox();
  // @ts-expect-error
  result.stdout = Buffer.alloc(0);
  // @ts-expect-error
  const never: 'done' = result.outcome;
  void never;
}
