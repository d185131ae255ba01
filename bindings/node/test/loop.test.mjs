import assert from 'node:assert/strict';
import dns from 'node:dns/promises';
import fs from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import zeroboot from 'zeroboot';
import { template, until, usage } from './common.mjs';

const RUNS = 8;
const SECONDS = 2;

describe('while 8 runs are in flight', () => {
  let snapshot;
  let sandboxes;
  before(async () => {
    snapshot = await zeroboot.load(template);
    sandboxes = await Promise.all(Array.from({ length: RUNS }, () => snapshot.fork()));
  });
  after(async () => {
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
    await snapshot.close();
  });

  it('the event loop, the file system and DNS go on', async (t) => {
    const histogram = monitorEventLoopDelay({ resolution: 1 });
    let inFlight = RUNS;
    const runs = sandboxes.map(async (sandbox) => {
      const result = await sandbox.run('while True: pass', { timeoutMs: SECONDS * 1000 });
      inFlight--;
      return result;
    });
    histogram.enable();
    let worst = 0;
    let operations = 0;
    // As long as none has ended; each round is more than libuv's four threads can do at once.
    while (inFlight === RUNS) {
      const begin = performance.now();
      const files = Array.from({ length: 8 }, () => fs.readFile(fileURLToPath(import.meta.url)));
      await Promise.all([...files, dns.lookup('localhost')]);
      worst = Math.max(worst, performance.now() - begin);
      operations += 9;
    }
    histogram.disable();
    for (const result of await Promise.all(runs)) assert.equal(result.outcome, 'timed_out');
    const lag = { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6, max: histogram.max / 1e6 };
    t.diagnostic(`loop: p50 ${lag.p50.toFixed(1)}, p99 ${lag.p99.toFixed(1)}, max ${lag.max.toFixed(1)} ms; `
      + `${operations} reads and look-ups, the slowest nine in ${worst.toFixed(1)} ms`);
    // A loop, or a pool, that waits for a run's end stands still for SECONDS. Guests that compute on all
    // processors take time slices, which is what the rest is.
    assert.ok(operations >= 9 * 10, `${operations} operations`);
    assert.ok(lag.p50 < 50, `${lag.p50} ms`);
    assert.ok(lag.max < SECONDS * 500, `${lag.max} ms`);
    assert.ok(worst < SECONDS * 500, `${worst} ms`);
  });
});

describe('worker threads', () => {
  it('are as many as runs were in flight, and end when nothing is to be done', async () => {
    const snapshot = await zeroboot.load(template);
    const sandboxes = await Promise.all(Array.from({ length: RUNS }, () => snapshot.fork()));
    const runs = sandboxes.map((sandbox) => sandbox.run('import time; time.sleep(0.2)'));
    assert.ok(usage().threads <= idle + RUNS, `${usage().threads} threads, ${idle} without runs: ${usage().names}`);
    await Promise.all(runs);
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
    await snapshot.close();
    await until(() => usage().threads <= idle, 20);
  });
});

// libuv's threads are there for good after the first use.
await Promise.all(Array.from({ length: 16 }, () => fs.stat('/')));
const idle = usage().threads;
