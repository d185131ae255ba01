// What users get: the types, and the package that npm makes.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { here, root, template } from './common.mjs';

const execute = promisify(execFile);

describe('the types', () => {
  before(() => fs.rm(path.join(here, '.out'), { recursive: true, force: true }));
  after(() => fs.rm(path.join(here, '.out'), { recursive: true, force: true }));

  it('are accepted by tsc in strict mode, and what it makes of await using runs here', async () => {
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    await execute(process.execPath, [tsc, '-p', path.join(here, 'types')]).catch(({ stdout, message }) => {
      assert.fail(stdout || message);
    });
    const emitted = await fs.readFile(path.join(here, '.out/usage.mjs'), 'utf8');
    assert.doesNotMatch(emitted, /await using/);
    await execute(process.execPath, [path.join(here, '.out/usage.mjs'), template]);
    const { stdout } = await execute(process.execPath, [path.join(here, '.out/required.cjs'), template]);
    assert.equal(stdout, '42\n');
  });
});

describe('the package', () => {
  let scratch;
  let env;
  before(async () => {
    scratch = await fs.mkdtemp(path.join(os.tmpdir(), 'zeroboot-package-'));
    // A PATH with node and npm only: no compiler, no shell's tools.
    const bin = path.join(scratch, 'bin');
    await fs.mkdir(bin);
    await fs.symlink(process.execPath, path.join(bin, 'node'));
    await fs.symlink(await which('npm'), path.join(bin, 'npm'));
    await fs.symlink('/bin/sh', path.join(bin, 'sh'));
    env = { ...process.env, PATH: bin, npm_config_cache: path.join(scratch, 'cache'), npm_config_update_notifier: 'false' };
    for (const name of Object.keys(env)) if (/^(ZEROBOOT|LD_)/.test(name)) delete env[name];
  });
  after(() => fs.rm(scratch, { recursive: true, force: true }));

  async function which(name) {
    for (const directory of process.env.PATH.split(':')) {
      const file = path.join(directory, name);
      if (await fs.access(file, fs.constants.X_OK).then(() => true, () => false)) return file;
    }
    throw new Error(`no ${name} in PATH`);
  }

  it('installs in an empty project without a compiler or a network, and runs the example of its README', async () => {
    const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', scratch], { cwd: root, env });
    const [{ filename, files }] = JSON.parse(stdout);
    const names = files.map((file) => file.path).sort();
    for (const name of ['prebuilt/linux-x64/zeroboot.node', 'index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'README.md', 'LICENSE']) {
      assert.ok(names.includes(name), `no ${name} in ${names}`);
    }
    assert.ok(names.some((name) => /^prebuilt\/linux-x64\/libzeroboot\.so/.test(name)), String(names));
    assert.deepEqual(names.filter((name) => /^(src|test|node_modules)\//.test(name)), []);

    const project = path.join(scratch, 'project');
    await fs.mkdir(project);
    await fs.writeFile(path.join(project, 'package.json'), '{ "private": true }\n');
    await execute('npm', ['install', '--offline', '--no-audit', '--no-fund', path.join(scratch, filename)], { cwd: project, env });

    const readme = await fs.readFile(path.join(project, 'node_modules/zeroboot/README.md'), 'utf8');
    const [, example] = /^```js\n(.*?)^```$/ms.exec(readme);
    const [, expected] = /^```text\n(.*?)^```$/ms.exec(readme);
    await fs.writeFile(path.join(project, 'hello.mjs'), example);
    const run = await execute('node', ['hello.mjs', template], { cwd: project, env });
    assert.equal(run.stdout, expected);

    const required = 'const { load } = require("zeroboot"); load(process.argv[1]).then((snapshot) => console.log(snapshot.runtime))';
    assert.equal((await execute('node', ['-e', required, template], { cwd: project, env })).stdout, 'python\n');
  });
});
