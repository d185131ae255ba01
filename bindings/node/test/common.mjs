// What the tests share.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import vm from 'node:vm';

export const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.dirname(here);
export const repository = path.resolve(root, '../..');

/** The directory of the Python template. */
export const template = process.env.ZEROBOOT_TEMPLATE ?? findTemplate();

function findTemplate() {
  const directory = process.env.ZEROBOOT_LIBRARY_DIR ?? path.join(repository, 'target/release');
  const command = path.join(directory, 'zeroboot');
  return execFileSync(command, ['template', 'inspect', '--path', 'python'], { encoding: 'utf8' }).trim();
}

v8.setFlagsFromString('--expose-gc');
export const gc = vm.runInNewContext('gc');

export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Until the condition holds, which the event loop's next turns bring about. */
export async function until(condition, seconds = 10) {
  const end = performance.now() + seconds * 1000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not so after ${seconds} s: ${condition}`);
    await turn();
  }
}

/** Of all threads but those that KVM has in the process, one for each machine that has run. */
function threadNames() {
  const names = fs.readdirSync('/proc/self/task').map((task) => {
    try {
      return fs.readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim();
    } catch {
      return 'kvm'; // it has ended
    }
  });
  return names.filter((name) => !name.startsWith('kvm'));
}

/** What the process has: descriptors, mappings of files and of KVM's, threads, and kilobytes of memory apart from V8's heap. */
export function usage() {
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  const threads = threadNames();
  return {
    fds: fs.readdirSync('/proc/self/fd').length,
    maps: fs.readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => !/ 0 *$/.test(line)).length,
    threads: threads.length,
    names: threads.join(),
    keepers: threads.filter((name) => name === 'zeroboot-keeper').length,
    nativeKb: Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) - (process.memoryUsage().heapTotal >> 10),
    heapUsedKb: process.memoryUsage().heapUsed >> 10,
  };
}
