'use strict';

const { AsyncResource } = require('node:async_hooks');
const native = require('./native.js');

const STDOUT = 1; // ZB_STREAM_STDOUT

/**
 * Hands a run's output to its callbacks, one piece after the other. A callback that returns a promise
 * is waited for; meanwhile the addon holds up to a mebibyte, and then the guest waits. One that throws
 * cancels the run.
 */
class Output {
  #handle;
  #onStdout;
  #onStderr;
  #pumping = false;
  #pumped;
  #failed = false;
  #error;

  constructor(handle, onStdout, onStderr) {
    this.#handle = handle;
    this.#onStdout = onStdout;
    this.#onStderr = onStderr;
    // Callbacks see the AsyncLocalStorage of whoever called run().
    this.wake = AsyncResource.bind(() => {
      if (!this.#pumping) this.#pumped = this.#pump();
    });
  }

  /** Until everything was handed over, once the run has ended; throws what a callback threw. */
  async end() {
    this.wake();
    await this.#pumped;
    if (this.#failed) throw this.#error;
  }

  async #pump() {
    this.#pumping = true;
    try {
      let pieces;
      while (!this.#failed && (pieces = native.takeOutput(this.#handle)) !== undefined) await this.#pass(pieces);
    } catch (error) {
      this.#failed = true;
      this.#error = error;
      native.cancel(this.#handle);
    } finally {
      this.#pumping = false;
    }
  }

  async #pass(pieces) {
    for (let i = 0; i < pieces.length; i += 2) {
      const callback = pieces[i] === STDOUT ? this.#onStdout : this.#onStderr;
      const returned = callback?.(pieces[i + 1]);
      if (typeof returned?.then === 'function') await returned;
    }
  }
}

module.exports = { Output };
