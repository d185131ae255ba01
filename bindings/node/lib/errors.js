'use strict';

// The ZB_ERR_ constants, by their values.
const STATUS = [
  'ZB_OK',
  'ZB_ERR_INVALID_ARGUMENT',
  'ZB_ERR_UNSUPPORTED',
  'ZB_ERR_NOT_FOUND',
  'ZB_ERR_CORRUPT',
  'ZB_ERR_VERSION',
  'ZB_ERR_HOST',
  'ZB_ERR_CLOCK',
  'ZB_ERR_KVM',
  'ZB_ERR_LIMIT',
  'ZB_ERR_IO',
  'ZB_ERR_NO_MEMORY',
  'ZB_ERR_BUSY',
  'ZB_ERR_DEAD',
  'ZB_ERR_WRONG_PROCESS',
  'ZB_ERR_INTERNAL',
];

class ZerobootError extends Error {
  constructor(code, message, errno = 0) {
    super(message);
    this.code = code;
    if (errno !== 0) this.errno = errno;
  }
}
Object.defineProperty(ZerobootError.prototype, 'name', { value: 'ZerobootError', configurable: true, writable: true });

class RunError extends ZerobootError {
  constructor(result) {
    super(`ZB_OUTCOME_${result.outcome.toUpperCase()}`, result.message);
    this.result = result;
  }
}
Object.defineProperty(RunError.prototype, 'name', { value: 'RunError', configurable: true, writable: true });

class AbortError extends Error {
  constructor(signal, result) {
    super('The run was aborted', { cause: signal.reason });
    this.code = 'ABORT_ERR';
    if (result !== undefined) this.result = result;
  }
}
Object.defineProperty(AbortError.prototype, 'name', { value: 'AbortError', configurable: true, writable: true });

/** What the addon's promise gives; when it is rejected, with [status, errno, message], a ZerobootError. */
async function settled(promise) {
  try {
    return await promise;
  } catch (reason) {
    if (!Array.isArray(reason)) throw reason;
    const [status, errno, message] = reason;
    const code = STATUS[status] ?? `ZB_ERR_${status}`;
    throw new ZerobootError(code, message || code, errno);
  }
}

module.exports = { AbortError, RunError, ZerobootError, settled };
