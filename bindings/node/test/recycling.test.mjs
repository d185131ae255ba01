// Virtual machines that are used again. One takes two descriptors, so counting them tells of it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { load } from 'zeroboot';
import { template, until, usage } from './common.mjs';

const FDS = 2;

const LEAVE_MARKS = `
import builtins, os
print(hasattr(builtins, "mark"), os.path.exists("/tmp/mark"), "mark" in globals())
builtins.mark = mark = 1
open("/tmp/mark", "w").close()
`;

const fds = () => usage().fds;

/** The library's thread works a little later. */
const become = (count, expected) => until(() => count() === expected, 30);

async function expectNoMarks(sandbox) {
  assert.equal((await sandbox.run(LEAVE_MARKS, { check: true })).stdoutText, 'False False False\n');
}

describe('a machine', () => {
  it('is used again, and has nothing of the program before', async () => {
    const snapshot = await load(template, { recycleMax: 1 });
    const one = fds() + FDS;
    let reused = 0;
    for (let i = 0; i < 1000 && reused < 5; i++) {
      const sandbox = await snapshot.fork();
      // A new one, if the other is being put back at this moment.
      if (i > 0 && fds() === one) reused++;
      await expectNoMarks(sandbox);
      await sandbox.close();
      await become(fds, one);
    }
    assert.equal(reused, 5);
    const fresh = await snapshot.fork({ fresh: true });
    assert.equal(fds(), one + FDS);
    await expectNoMarks(fresh);
    await fresh.close();
    await snapshot.close();
  });

  it('is kept as long as there are no more than recycleMax, and its snapshot is open', async () => {
    const before = usage();
    const snapshot = await load(template, { recycleMax: 2 });
    const loaded = fds();
    const sandboxes = await Promise.all(Array.from({ length: 5 }, () => snapshot.fork()));
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
    await become(fds, loaded + 2 * FDS);
    await become(() => usage().keepers, before.keepers + 1);
    await snapshot.close();
    assert.equal(fds(), before.fds);
    await become(() => usage().keepers, before.keepers);
  });

  it('ends with its sandbox if none are to be kept, and there is no thread', async () => {
    const { keepers } = usage();
    const snapshot = await load(template, { recycleMax: 0 });
    const loaded = fds();
    const sandbox = await snapshot.fork();
    await expectNoMarks(sandbox);
    await sandbox.close();
    assert.deepEqual([fds(), usage().keepers], [loaded, keepers]);
    await snapshot.close();
  });

  it('is made ahead', async () => {
    const none = await load(template, { recycleMax: 0 });
    const loaded = fds();
    await none.close();
    const snapshot = await load(template, { recycleMax: 0, prewarm: 2 });
    await become(fds, loaded + 2 * FDS);
    const sandbox = await snapshot.fork();
    await become(fds, loaded + 3 * FDS);
    await expectNoMarks(sandbox);
    await sandbox.close();
    await snapshot.close();
  });
});
