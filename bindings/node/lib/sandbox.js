'use strict';

const check = require('./check.js');
const native = require('./native.js');
const { AbortError, RunError, ZerobootError, settled } = require('./errors.js');
const { Output } = require('./output.js');
const { Result } = require('./result.js');

const FORK_FRESH = 1; // ZB_FORK_FRESH
const LOAD_VERIFY = 1; // ZB_LOAD_VERIFY
const LOAD_SEALED_COPY = 2; // ZB_LOAD_SEALED_COPY

// Only this file makes handles' objects.
const INTERNAL = Symbol('zeroboot');
// Node 20.0 to 20.4 lacks it.
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

function construct(key, name) {
  if (key !== INTERNAL) throw new TypeError(`${name} has no public constructor`);
}

function closed(what) {
  return new ZerobootError('ZB_ERR_CLOSED', `the ${what} is closed`);
}

class Sandbox {
  #handle;
  #busy = false;
  #ended; // settles when the addon is done with the run in flight
  #closing;

  constructor(key, handle) {
    construct(key, 'Sandbox');
    this.#handle = handle;
    this.instanceId = native.instanceId(handle).toString('hex');
  }

  get alive() {
    return this.#closing === undefined && native.isAlive(this.#handle);
  }

  get closed() {
    return this.#closing !== undefined;
  }

  async run(code, options) {
    check.code(code);
    const { timeoutMs, maxOutputBytes, signal, onStdout, onStderr, check: checked } = check.options(options);
    const timeout = check.limit('timeoutMs', timeoutMs);
    const most = check.limit('maxOutputBytes', maxOutputBytes);
    check.callback('onStdout', onStdout);
    check.callback('onStderr', onStderr);
    check.flag('check', checked, 1);
    check.signal(signal);
    if (this.#closing !== undefined) throw closed('sandbox');
    if (this.#busy) throw new ZerobootError('ZB_ERR_BUSY', 'another run of this sandbox is under way');
    if (signal?.aborted) throw new AbortError(signal);
    const handle = this.#handle;
    const output = onStdout || onStderr ? new Output(handle, onStdout, onStderr) : undefined;
    const cancel = signal && (() => native.cancel(handle));
    this.#busy = true;
    try {
      this.#ended = native.run(handle, code, timeout, most, output?.wake);
      signal?.addEventListener('abort', cancel, { once: true });
      const result = new Result(await settled(this.#ended));
      await output?.end();
      if (signal?.aborted) throw new AbortError(signal, result);
      if (checked && !result.ok) throw new RunError(result);
      return result;
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#busy = false;
      this.#ended = undefined;
    }
  }

  close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close() {
    if (this.#ended !== undefined) {
      native.cancel(this.#handle);
      await this.#ended.catch(() => {}); // run() tells its caller
    }
    await native.release(this.#handle);
  }

  [asyncDispose]() {
    return this.close();
  }
}

class Snapshot {
  #handle;
  #closing;

  constructor(key, [handle, runtime, memoryBytes]) {
    construct(key, 'Snapshot');
    this.#handle = handle;
    this.runtime = runtime;
    this.memoryBytes = memoryBytes;
  }

  get closed() {
    return this.#closing !== undefined;
  }

  async fork(options) {
    const { fresh, instanceId } = check.options(options);
    const flags = check.flag('fresh', fresh, FORK_FRESH);
    const name = check.uuid('instanceId', instanceId);
    if (this.#closing !== undefined) throw closed('snapshot');
    return new Sandbox(INTERNAL, await settled(native.fork(this.#handle, flags, name)));
  }

  close() {
    this.#closing ??= native.release(this.#handle);
    return this.#closing;
  }

  [asyncDispose]() {
    return this.close();
  }
}

async function load(dir, options) {
  const path = check.directory(dir);
  const { verify, sealedCopy, recycleMax, prewarm = 0 } = check.options(options);
  const flags = check.flag('verify', verify, LOAD_VERIFY) | check.flag('sealedCopy', sealedCopy, LOAD_SEALED_COPY);
  // For the library, 0 is the default.
  const most = recycleMax === undefined ? 0 : check.machines('recycleMax', recycleMax) || check.NONE;
  const ahead = check.machines('prewarm', prewarm);
  return new Snapshot(INTERNAL, await settled(native.load(path, flags, most, ahead)));
}

module.exports = { Sandbox, Snapshot, load };
