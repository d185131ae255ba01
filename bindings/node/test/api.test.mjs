import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import { createRequire } from 'node:module';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import zeroboot, { AbortError, RunError, ZerobootError, load } from 'zeroboot';
import * as namespace from 'zeroboot';
import { template } from './common.mjs';

let snapshot;
before(async () => {
  snapshot = await load(template);
});
after(() => snapshot.close());

async function withSandbox(use) {
  const sandbox = await snapshot.fork();
  try {
    return await use(sandbox);
  } finally {
    await sandbox.close();
  }
}

describe('the module', () => {
  it('is the same by require and by import', () => {
    const required = createRequire(import.meta.url)('zeroboot');
    assert.equal(required, zeroboot);
    for (const name of Object.keys(required)) assert.equal(namespace[name], required[name], name);
    assert.deepEqual(Object.keys(namespace).sort(), [...Object.keys(required), 'default'].sort());
  });

  it('tells its version', () => assert.match(zeroboot.version, /^\d+\.\d+\.\d+/));
});

describe('loading', () => {
  it('tells the runtime and the memory', () => {
    assert.equal(snapshot.runtime, 'python');
    assert.ok(snapshot.memoryBytes >= 64 << 20);
  });

  it('takes a file URL, and hashes everything if asked to', async () => {
    const other = await load(pathToFileURL(template), { verify: true });
    await other.close();
  });

  it('can copy the memory first', async () => {
    const other = await load(template, { sealedCopy: true });
    const sandbox = await other.fork();
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
    await sandbox.close();
    await other.close();
  });

  it('of what is not there is an error with a code, an errno and a message', async () => {
    const error = await load('/nonexistent/template').catch((reason) => reason);
    assert.ok(error instanceof ZerobootError && error instanceof Error);
    assert.equal(error.name, 'ZerobootError');
    assert.equal(error.code, 'ZB_ERR_NOT_FOUND');
    assert.equal(error.errno, 2);
    assert.match(error.message, /\/nonexistent\/template/);
    assert.match(error.stack, /api\.test\.mjs/);
  });
});

describe('a sandbox', () => {
  it('outlives its snapshot', async () => {
    const other = await load(template);
    const sandbox = await other.fork({ fresh: true });
    await other.close();
    assert.equal((await sandbox.run('print(6*7)')).stdoutText, '42\n');
    await sandbox.close();
  });

  it('has the name that it was given, or a random one', async () => {
    const other = await load(template);
    const name = '00112233-4455-6677-8899-aabbccddeeff';
    const [named, random] = [await other.fork({ instanceId: name }), await other.fork()];
    assert.equal(named.instanceId, name.replaceAll('-', ''));
    assert.match(random.instanceId, /^[0-9a-f]{32}$/);
    assert.notEqual(random.instanceId, named.instanceId);
    assert.equal((await named.run('print(open("/etc/machine-id").read(), end="")')).stdoutText, `${named.instanceId}\n`);
    for (const closable of [named, random, other]) await closable.close();
  });

  it('is closed by its asyncDispose, and so is a snapshot', async () => {
    const other = await load(template);
    const sandbox = await other.fork();
    await sandbox[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
    assert.deepEqual([sandbox.closed, sandbox.alive, other.closed], [true, false, true]);
  });

  it('takes a program as bytes', () => withSandbox(async (sandbox) => {
    const bytes = Buffer.from('xxprint("ä")xx').subarray(2, -2);
    assert.equal((await sandbox.run(bytes)).stdoutText, 'ä\n');
    assert.equal((await sandbox.run(new Uint8Array())).stdoutText, '');
  }));

  it('gives a result with buffers, texts, a time and a message', () => withSandbox(async (sandbox) => {
    const result = await sandbox.run('import sys\nprint("out")\nprint("err", file=sys.stderr)\nsys.exit(3)');
    assert.deepEqual({ ...result, elapsedMs: 0, message: '' }, {
      outcome: 'exited', exitCode: 3, signal: null, elapsedMs: 0, message: '',
      stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n'),
    });
    assert.ok(result.elapsedMs > 0 && result.elapsedMs < 60_000);
    assert.match(result.message, /3/);
    assert.deepEqual([result.ok, result.stdoutText, result.stderrText], [false, 'out\n', 'err\n']);
  }));

  it('gives 16 MB of output in a Buffer that is the program\'s own to change', () => withSandbox(async (sandbox) => {
    const { stdout } = await sandbox.run('for _ in range(160): print("x" * 99_999)');
    assert.equal(stdout.length, 16_000_000);
    stdout.fill(0);
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
  }));

  it('takes Infinity for no limit, and fractions of a millisecond', () => withSandbox(async (sandbox) => {
    const { outcome } = await sandbox.run('print(1)', { timeoutMs: Infinity, maxOutputBytes: Infinity });
    assert.equal(outcome, 'exited');
    assert.equal((await sandbox.run('while True: pass', { timeoutMs: 0.5 })).outcome, 'timed_out');
  }));

  it('has a timeout that is a result', () => withSandbox(async (sandbox) => {
    const result = await sandbox.run('print("before")\nwhile True: pass', { timeoutMs: 200 });
    assert.deepEqual([result.outcome, result.exitCode, result.ok, result.stdoutText], ['timed_out', null, false, 'before\n']);
    assert.ok(result.elapsedMs >= 200 && result.elapsedMs < 2000, `${result.elapsedMs} ms`);
  }));

  it('with check rejects what did not exit with 0, with the result in the error', () => withSandbox(async (sandbox) => {
    assert.equal((await sandbox.run('print(1)', { check: true })).stdoutText, '1\n');
    const failed = await sandbox.run('print(2)\n1/0', { check: true }).catch((reason) => reason);
    assert.ok(failed instanceof RunError && failed instanceof ZerobootError);
    assert.equal(failed.code, 'ZB_OUTCOME_EXITED');
    assert.deepEqual([failed.result.exitCode, failed.result.stdoutText], [1, '2\n']);
    await assert.rejects(sandbox.run('while True: pass', { check: true, timeoutMs: 100 }),
      { name: 'RunError', code: 'ZB_OUTCOME_TIMED_OUT' });
  }));
});

describe('output callbacks', () => {
  it('get what the result gets, in order and while the program runs', () => withSandbox(async (sandbox) => {
    const order = [];
    const code = `import sys
for i in range(200):
    print(i)
    print(-i, file=sys.stderr)`;
    const result = await sandbox.run(code, {
      onStdout: (piece) => order.push(['out', piece]),
      onStderr: (piece) => order.push(['err', piece]),
    });
    const joined = (name) => Buffer.concat(order.filter(([from]) => from === name).map(([, piece]) => piece));
    assert.deepEqual(joined('out'), result.stdout);
    assert.deepEqual(joined('err'), result.stderr);
    assert.equal(result.stdoutText.split('\n').length, 201);
  }));

  it('and results get 5 MB whole and in order', () => withSandbox(async (sandbox) => {
    const expected = Array.from({ length: 5000 }, (unused, i) => `${String(i).padStart(6, '0').repeat(170)}\n`).join('');
    const pieces = [];
    const result = await sandbox.run('for i in range(5000): print(f"{i:06d}" * 170)', { onStdout: (piece) => pieces.push(piece) });
    assert.equal(result.outcome, 'exited', result.message);
    assert.ok(result.stdoutText === expected, 'the result is not what was printed');
    assert.ok(Buffer.concat(pieces).equals(result.stdout), 'the pieces are not what the result has');
  }));

  it('come before the program ends', () => withSandbox(async (sandbox) => {
    const { promise, resolve } = deferred();
    const controller = new AbortController();
    const run = sandbox.run('print("ready", flush=True)\nwhile True: pass', {
      onStdout: resolve, signal: controller.signal, timeoutMs: 10_000,
    });
    assert.equal(String(await promise), 'ready\n');
    controller.abort();
    await assert.rejects(run, AbortError);
  }));

  it('for one stream leave the other alone', () => withSandbox(async (sandbox) => {
    const pieces = [];
    const result = await sandbox.run('import sys; print("o"); print("e", file=sys.stderr)', { onStderr: (piece) => pieces.push(piece) });
    assert.equal(Buffer.concat(pieces).toString(), 'e\n');
    assert.equal(result.stdoutText, 'o\n');
  }));

  it('that are slow make the program wait, and get everything', () => withSandbox(async (sandbox) => {
    const { promise: opened, resolve: open } = deferred();
    let held = false;
    let bytes = 0;
    const code = `import sys, time
begin = time.monotonic()
for _ in range(64): print('x' * 131071)
print(time.monotonic() - begin, file=sys.stderr)`;
    const result = await sandbox.run(code, {
      onStdout: async (piece) => {
        bytes += piece.length;
        if (held) return;
        held = true;
        setTimeout(open, 400); // how slow the consumer is
        await opened;
      },
    });
    assert.equal(result.outcome, 'exited');
    assert.equal(bytes, 64 * 131072);
    assert.ok(Number(result.stderrText) > 0.35, `the program took ${result.stderrText.trim()} s`);
  }));

  it('that throw cancel the run, which rejects with that error', () => withSandbox(async (sandbox) => {
    const mine = new Error('mine');
    let calls = 0;
    const run = sandbox.run('while True: print("x" * 1000)', {
      maxOutputBytes: Infinity,
      onStdout: () => {
        calls++;
        throw mine;
      },
    });
    assert.equal(await run.catch((reason) => reason), mine);
    assert.equal(calls, 1);
    assert.equal(sandbox.alive, false);
  }));

  it('that throw what looks like an error of the addon reject with just that', () => withSandbox(async (sandbox) => {
    const odd = [12, 0, 'no'];
    assert.equal(await sandbox.run('print(1)', { onStdout: () => { throw odd; } }).catch((reason) => reason), odd);
  }));

  it('that reject cancel the run, too', () => withSandbox(async (sandbox) => {
    await assert.rejects(sandbox.run('print(1)\nwhile True: pass', {
      onStdout: async () => { throw new RangeError('late'); }, timeoutMs: 10_000,
    }), { name: 'RangeError', message: 'late' });
    assert.equal(sandbox.alive, false);
  }));

  it('may close their sandbox, and wait for that', () => withSandbox(async (sandbox) => {
    const result = await sandbox.run('print(1)\nwhile True: pass', {
      onStdout: () => sandbox.close(), timeoutMs: 10_000,
    });
    assert.deepEqual([result.outcome, result.stdoutText], ['cancelled', '1\n']);
  }));

  it('may use another sandbox, but not run their own', () => withSandbox((sandbox) => withSandbox(async (other) => {
    const seen = [];
    await sandbox.run('print(1)', {
      onStdout: async () => {
        seen.push((await other.run('print(2)')).stdoutText);
        seen.push(await sandbox.run('print(3)').catch(({ code }) => code));
      },
    });
    assert.deepEqual(seen, ['2\n', 'ZB_ERR_BUSY']);
  })));

  it('see the AsyncLocalStorage of the call', () => withSandbox(async (sandbox) => {
    const storage = new AsyncLocalStorage();
    const seen = new Set();
    await storage.run('mine', () => sandbox.run('for i in range(50): print(i, flush=True)', { onStdout: () => seen.add(storage.getStore()) }));
    assert.deepEqual([...seen], ['mine']);
  }));
});

describe('an AbortSignal', () => {
  it('that was triggered before leaves the sandbox as it is', () => withSandbox(async (sandbox) => {
    const error = await sandbox.run('print(1)', { signal: AbortSignal.abort('why') }).catch((reason) => reason);
    assert.ok(error instanceof AbortError);
    assert.deepEqual([error.name, error.code, error.cause, error.result], ['AbortError', 'ABORT_ERR', 'why', undefined]);
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
  }));

  it('stops a run soon, with the output until then', () => withSandbox(async (sandbox) => {
    const controller = new AbortController();
    let aborted;
    const error = await sandbox.run('print("ready")\nwhile True: pass', {
      signal: controller.signal,
      timeoutMs: 10_000,
      onStdout: () => {
        aborted = performance.now();
        controller.abort();
      },
    }).catch((reason) => reason);
    assert.ok(performance.now() - aborted < 250, `${performance.now() - aborted} ms`);
    assert.equal(error.name, 'AbortError');
    assert.deepEqual([error.result.outcome, error.result.stdoutText], ['cancelled', 'ready\n']);
    assert.equal(sandbox.alive, false);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  }));

  it('that times out is the cause of the error', () => withSandbox(async (sandbox) => {
    const error = await sandbox.run('while True: pass', { signal: AbortSignal.timeout(50) }).catch((reason) => reason);
    assert.deepEqual([error.name, error.cause.name], ['AbortError', 'TimeoutError']);
  }));

  it('stops all runs that have it', async () => {
    const controller = new AbortController();
    const sandboxes = await Promise.all([1, 2, 3, 4].map(() => snapshot.fork()));
    const runs = sandboxes.map((sandbox) => sandbox.run('while True: pass', { signal: controller.signal }));
    controller.abort();
    for (const { reason } of await Promise.allSettled(runs)) assert.equal(reason?.name, 'AbortError');
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
  });

  it('that is not triggered keeps no listener', () => withSandbox(async (sandbox) => {
    const { signal } = new AbortController();
    for (let i = 0; i < 20; i++) await sandbox.run('pass', { signal });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  }));
});

describe('more runs than there are threads', () => {
  it('wait for their turn; loading, forking, closing and aborting do not', async () => {
    const sleeper = 'import time\nwhile True: time.sleep(60)';
    const sandboxes = await Promise.all(Array.from({ length: zeroboot.maxRuns }, () => snapshot.fork()));
    const runs = sandboxes.map((sandbox) => sandbox.run(sleeper));
    const controller = new AbortController();
    const late = await snapshot.fork();
    const aborted = late.run('print(1)', { signal: controller.signal });
    const patient = await snapshot.fork();
    const waited = patient.run('print(2)');
    const other = await load(template);
    await other.close();
    controller.abort();
    await assert.rejects(aborted, AbortError);
    await late.close();
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
    assert.equal((await waited).stdoutText, '2\n');
    for (const result of await Promise.all(runs)) assert.equal(result.outcome, 'cancelled');
    await patient.close();
  });
});

function deferred() {
  let resolve;
  const promise = new Promise((r) => {
    resolve = r;
  });
  return { promise, resolve };
}
