// Environments that end while runs are in flight: processes and worker threads.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import zeroboot from 'zeroboot';
import { root, template, usage } from './common.mjs';

const PRELUDE = `const zeroboot = require('zeroboot');
(async () => {
  const snapshot = await zeroboot.load(${JSON.stringify(template)});
  const fork = () => snapshot.fork();
  const busy = async (options) => (await fork()).run(options ? 'while True: print("x" * 1000)' : 'while True: pass',
    { maxOutputBytes: Infinity, ...options });
`;

/** How a process of node that evaluates the code ends. */
async function run(code) {
  const child = spawn(process.execPath, ['-e', `${PRELUDE}${code}})();`], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (piece) => { out += piece; });
  child.stderr.on('data', (piece) => { err += piece; });
  const [exitCode, signal] = await once(child, 'close');
  return { exitCode, signal, out, err };
}

describe('a process', () => {
  it('ends when nothing is in flight, with handles that nobody closed', async () => {
    const ended = await run('globalThis.kept = [snapshot, await fork(), await fork()]; console.log("end");');
    assert.deepEqual(ended, { exitCode: 0, signal: null, out: 'end\n', err: '' });
  });

  it('lives until its runs have ended', async () => {
    const ended = await run('(await fork()).run("import time; time.sleep(0.3); print(1)").then((r) => console.log(r.outcome));');
    assert.deepEqual(ended, { exitCode: 0, signal: null, out: 'exited\n', err: '' });
  });

  it('may exit while runs are in flight', async () => {
    const ended = await run('for (let i = 0; i < 8; i++) busy(i % 2 ? { onStdout: () => {} } : undefined); await busy({ onStdout: () => process.exit(3) });');
    assert.deepEqual(ended, { exitCode: 3, signal: null, out: '', err: '' });
  });

  it('may fail while runs are in flight', async () => {
    const ended = await run('busy(); busy({ onStdout: () => new Promise(() => {}) }); await busy({ onStdout: () => setImmediate(() => { throw new Error("mine"); }) });');
    assert.equal(ended.exitCode, 1, ended.err);
    assert.match(ended.err, /Error: mine/);
  });

  it('may be ended by a signal while runs are in flight', async () => {
    const ended = await run('await busy({ onStdout: () => process.kill(process.pid, "SIGTERM") });');
    assert.equal(ended.signal, 'SIGTERM');
  });

  it('handles signals while runs are in flight', async () => {
    const ended = await run(`let count = 0;
      process.on("SIGUSR2", () => { count++; });
      const sandbox = await fork();
      const running = sandbox.run("import time\\nfor _ in range(20): time.sleep(0.001)\\nprint(1)");
      let over = false;
      running.then(() => { over = true; });
      while (!over) { process.kill(process.pid, "SIGUSR2"); await new Promise(setImmediate); }
      console.log((await running).outcome, count > 10);`);
    assert.deepEqual(ended, { exitCode: 0, signal: null, out: 'exited true\n', err: '' });
  });
});

describe('a worker thread', () => {
  const work = (code) => new Worker(`${PRELUDE}const { parentPort } = require('node:worker_threads');\n${code}})();`, { eval: true });

  it('runs programs as the main thread does', async () => {
    const worker = work('const sandbox = await fork(); parentPort.postMessage((await sandbox.run("print(6*7)")).stdoutText); await sandbox.close();');
    assert.deepEqual(await once(worker, 'message'), ['42\n']);
    assert.deepEqual(await once(worker, 'exit'), [0]);
  });

  it('may be terminated while runs are in flight', async () => {
    const snapshot = await zeroboot.load(template);
    const sandbox = await snapshot.fork();
    const before = usage().fds;
    for (let i = 0; i < 5; i++) {
      const worker = work('busy({ onStdout: () => new Promise(() => {}) }); busy(); await busy({ onStdout: () => parentPort.postMessage("in flight") });');
      await once(worker, 'message');
      await worker.terminate();
    }
    assert.ok(usage().fds <= before, `${before} descriptors became ${usage().fds}`);
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
    await sandbox.close();
    await snapshot.close();
  });

  it('may be terminated at any moment', async () => {
    for (let i = 0; i < 40; i++) {
      const worker = work('for (;;) { const sandbox = await fork(); await sandbox.run("print(1)", { onStdout: () => {} }); parentPort.postMessage(1); sandbox.close(); }');
      for (let rounds = i % 4; rounds > 0; rounds--) await once(worker, 'message');
      await worker.terminate();
    }
  });

  it('may exit while runs are in flight', async () => {
    const worker = work('busy(); await busy({ onStdout: () => process.exit(5) });');
    assert.deepEqual(await once(worker, 'exit'), [5]);
  });
});
