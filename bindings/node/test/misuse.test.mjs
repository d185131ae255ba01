import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import zeroboot, { Sandbox, Snapshot, load } from 'zeroboot';
import { gc, template, turn, until, usage } from './common.mjs';

let snapshot;
before(async () => {
  snapshot = await load(template);
});
after(() => snapshot.close());

/** For tests that count: the snapshot of all tests may give up machines that it keeps at any time. */
const keepNone = async () => {
  await snapshot.close();
  snapshot = await load(template, { recycleMax: 0 });
};

const rejects = (promise, expected) => assert.rejects(promise, expected);

describe('what is closed', () => {
  it('can be closed again, also while it is being closed', async () => {
    const other = await load(template);
    const sandbox = await other.fork();
    await Promise.all([sandbox.close(), sandbox.close(), other.close(), other.close()]);
    await sandbox.close();
    await other.close();
  });

  it('gives ZB_ERR_CLOSED', async () => {
    const other = await load(template);
    const sandbox = await other.fork();
    await sandbox.close();
    await other.close();
    await rejects(sandbox.run('print(1)'), { name: 'ZerobootError', code: 'ZB_ERR_CLOSED' });
    await rejects(other.fork(), { name: 'ZerobootError', code: 'ZB_ERR_CLOSED' });
    assert.deepEqual([sandbox.alive, sandbox.closed, other.closed], [false, true, true]);
  });

  it('gives ZB_ERR_CLOSED from the call of close on', async () => {
    const sandbox = await snapshot.fork();
    const closing = sandbox.close();
    await rejects(sandbox.run('print(1)'), { code: 'ZB_ERR_CLOSED' });
    await closing;
  });

  it('while it runs ends the run as cancelled', async () => {
    const sandbox = await snapshot.fork();
    const run = sandbox.run('while True: pass');
    await sandbox.close();
    assert.equal((await run).outcome, 'cancelled');
  });

  it('while it forks gives the sandbox nevertheless', async () => {
    const other = await load(template);
    const forking = other.fork();
    await other.close();
    const sandbox = await forking;
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
    await sandbox.close();
  });
});

describe('a sandbox in use', () => {
  it('gives ZB_ERR_BUSY, and the run goes on', async () => {
    const sandbox = await snapshot.fork();
    const first = sandbox.run('import time; time.sleep(0.1); print(1)');
    await rejects(sandbox.run('print(2)'), { code: 'ZB_ERR_BUSY' });
    await rejects(sandbox.run('print(3)'), { code: 'ZB_ERR_BUSY' });
    assert.equal((await first).stdoutText, '1\n');
    assert.equal((await sandbox.run('print(4)')).stdoutText, '4\n');
    await sandbox.close();
  });

  it('that is dead gives ZB_ERR_DEAD, with how it ended', async () => {
    const sandbox = await snapshot.fork();
    await sandbox.run('import os; os._exit(3)');
    assert.equal(sandbox.alive, false);
    await rejects(sandbox.run('print(1)'), { code: 'ZB_ERR_DEAD', message: /./ });
    await sandbox.close();
  });
});

describe('wrong arguments reject', () => {
  const TYPE = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  const RANGE = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };

  it('for load', async () => {
    for (const dir of [undefined, null, 1, {}, [], Symbol('x'), Buffer.from(template)]) await rejects(load(dir), TYPE);
    for (const options of [null, 1, 'x']) await rejects(load(template, options), TYPE);
    await rejects(load(template, { verify: 1 }), TYPE);
    for (const name of ['recycleMax', 'prewarm']) {
      for (const value of ['1', null, 1n, {}]) await rejects(load(template, { [name]: value }), TYPE);
      for (const value of [-1, 0.5, NaN, Infinity, 2 ** 32 - 1, 2 ** 40]) await rejects(load(template, { [name]: value }), RANGE);
    }
    await (await load(template, { recycleMax: 2 ** 32 - 2, prewarm: undefined })).close();
    await rejects(load('a\0b'), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
    await rejects(load(''), { code: 'ZB_ERR_INVALID_ARGUMENT' });
    await rejects(load(new URL('http://localhost/x')), { code: 'ERR_INVALID_URL_SCHEME' });
  });

  it('for fork', async () => {
    for (const options of [null, 1, 'x']) await rejects(snapshot.fork(options), TYPE);
    await rejects(snapshot.fork({ fresh: 'yes' }), TYPE);
    await rejects(snapshot.fork({ instanceId: 1 }), TYPE);
    for (const instanceId of ['', 'x', '0'.repeat(32), 'a'.repeat(31)]) {
      await rejects(snapshot.fork({ instanceId }), { code: 'ERR_INVALID_ARG_VALUE' });
    }
  });

  it('for run, and leave the sandbox as it is', async () => {
    const sandbox = await snapshot.fork();
    for (const code of [undefined, null, 1, {}, ['x'], new Uint16Array(2), new ArrayBuffer(2)]) await rejects(sandbox.run(code), TYPE);
    for (const options of [null, 1, 'x']) await rejects(sandbox.run('1', options), TYPE);
    for (const name of ['timeoutMs', 'maxOutputBytes']) {
      for (const value of ['1', null, 1n, {}]) await rejects(sandbox.run('1', { [name]: value }), TYPE);
      for (const value of [0, -1, NaN, -Infinity, 2 ** 53]) await rejects(sandbox.run('1', { [name]: value }), RANGE);
    }
    for (const name of ['onStdout', 'onStderr', 'signal']) {
      for (const value of [null, 1, {}, 'x']) await rejects(sandbox.run('1', { [name]: value }), TYPE);
    }
    await rejects(sandbox.run('1', { check: 1 }), TYPE);
    assert.equal((await sandbox.run('print(1)')).stdoutText, '1\n');
    await sandbox.close();
  });

  it('for what is no handle', async () => {
    assert.throws(() => new Sandbox(), TypeError);
    assert.throws(() => new Snapshot(), TypeError);
    await rejects(Sandbox.prototype.run.call(snapshot, 'print(1)'), TypeError);
    await rejects(Snapshot.prototype.fork.call(Object.create(snapshot)), TypeError);
  });
});

describe('the garbage collector', () => {
  it('may take a handle while it runs', async () => {
    let other = await load(template);
    const runs = await Promise.all(Array.from({ length: 8 }, async (unused, i) => {
      const sandbox = await other.fork();
      return { run: sandbox.run(`import time; time.sleep(0.3); print(${i})`, { onStdout: () => gc() }) };
    }));
    other = undefined;
    let left = runs.length;
    for (const { run } of runs) run.finally(() => left--);
    while (left > 0) {
      gc();
      await turn();
    }
    for (const [i, { run }] of runs.entries()) assert.equal((await run).stdoutText, `${i}\n`);
  });

  it('may take a handle while a callback is awaited', async () => {
    let pieces = 0;
    const start = async () => (await snapshot.fork()).run('for i in range(700): print("x" * 1000)', {
      onStdout: async () => {
        pieces++;
        await turn();
        if (pieces % 10 === 0) gc();
      },
    });
    assert.equal((await start()).stdout.length, 700 * 1001);
  });

  it('frees what nobody closed', async () => {
    const fork = async (count) => {
      for (let i = 0; i < count; i++) await snapshot.fork();
    };
    await keepNone();
    await collected(() => true);
    const before = usage();
    await fork(100);
    assert.ok(usage().fds > before.fds);
    await collected(() => usage().fds <= before.fds);
  });

  async function collected(condition) {
    await until(() => {
      gc();
      return condition();
    }, 20);
  }
});

describe('10,000 times', () => {
  const assertFlat = (before, after) => {
    assert.ok(after.fds <= before.fds, `${before.fds} descriptors became ${after.fds}`);
    assert.ok(after.maps <= before.maps + 8, `${before.maps} mappings became ${after.maps}`);
    assert.ok(after.nativeKb <= before.nativeKb + 8 * 1024, `${before.nativeKb} kB became ${after.nativeKb}`);
    assert.ok(after.heapUsedKb <= before.heapUsedKb + 2 * 1024, `heap: ${before.heapUsedKb} kB became ${after.heapUsedKb}`);
  };

  it('fork, run now and then, and close leave descriptors, mappings and memory as they were', async (t) => {
    const cycles = async (count) => {
      // What is recycled is there until the snapshot is closed.
      const snapshot = await load(template);
      for (let i = 0; i < count; i++) {
        const sandbox = await snapshot.fork();
        if (i % 50 === 0) await sandbox.run('print(1)', { onStdout: () => {} });
        await sandbox.close();
      }
      await snapshot.close();
      gc();
    };
    await keepNone();
    await cycles(1000);
    const before = usage();
    await cycles(9000);
    const after = usage();
    t.diagnostic(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
    assertFlat(before, after);
  });

  it('runs in one sandbox leave memory as it was', async () => {
    await keepNone();
    const sandbox = await snapshot.fork();
    const { signal } = new AbortController();
    const cycles = async (count) => {
      for (let i = 0; i < count; i++) await sandbox.run('pass', i % 2 ? { signal, onStdout: () => {} } : undefined);
      gc();
    };
    await cycles(1000);
    const before = usage();
    await cycles(9000);
    const after = usage();
    await sandbox.close();
    assertFlat(before, after);
  });

  it('loading and closing leave descriptors as they were', async () => {
    const cycles = async (count) => {
      for (let i = 0; i < count; i++) await (await load(template)).close();
      gc();
    };
    await keepNone();
    await cycles(100);
    const before = usage();
    await cycles(1000);
    assertFlat(before, usage());
  });
});

describe('the module', () => {
  it('cannot be made to reach the addon', async () => {
    await rejects(import('zeroboot/lib/native.js'), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' });
    assert.equal(zeroboot.default, undefined);
  });
});
