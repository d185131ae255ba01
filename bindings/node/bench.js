'use strict';
// What Node adds to a run: the time of `await sandbox.run`, less the elapsedMs of the library.
//
//     node bench.js [TEMPLATE_DIR]
//
// Prints a line of a Markdown table: | node, added to a run | p50 | p99 | max | n |

const { execFileSync } = require('node:child_process');
const path = require('node:path');
const zeroboot = require('zeroboot');

const WARM_UP = 500;
const ROUNDS = 5000;

function template() {
  const directory = process.env.ZEROBOOT_LIBRARY_DIR ?? path.join(__dirname, '../../target/release');
  const print = ['template', 'inspect', '--path', 'python'];
  return execFileSync(path.join(directory, 'zeroboot'), print, { encoding: 'utf8' }).trim();
}

async function added(sandbox) {
  const started = performance.now();
  const result = await sandbox.run('print(6*7)');
  const took = performance.now() - started;
  if (result.stdoutText !== '42\n') throw new Error(result.message);
  return (took - result.elapsedMs) * 1000;
}

async function main() {
  const snapshot = await zeroboot.load(process.argv[2] ?? template());
  const sandbox = await snapshot.fork();
  for (let i = 0; i < WARM_UP; i++) await added(sandbox);
  const samples = [];
  for (let i = 0; i < ROUNDS; i++) samples.push(await added(sandbox));
  samples.sort((a, b) => a - b);
  const us = (at) => `${samples[at].toFixed(1)} us`;
  console.log(`| node, added to a run | ${us(ROUNDS / 2)} | ${us(ROUNDS * 0.99)} | ${us(ROUNDS - 1)} | ${ROUNDS} |`);
  await sandbox.close();
  await snapshot.close();
}

main();
