'use strict';

// What users pass is checked here; the errors are those that Node's own functions give.

const NONE = 2 ** 32 - 1; // ZB_NONE

function wrongType(name, expected, value) {
  const got = value === null ? 'null' : typeof value;
  const error = new TypeError(`${name} must be ${expected}, not of type ${got}`);
  error.code = 'ERR_INVALID_ARG_TYPE';
  return error;
}

function options(value) {
  if (value === undefined) return {};
  if (value === null || typeof value !== 'object') throw wrongType('options', 'an object', value);
  return value;
}

function flag(name, value, bit) {
  if (value === undefined || value === false) return 0;
  if (value !== true) throw wrongType(name, 'a boolean', value);
  return bit;
}

/** A number of machines; the library's largest number, NONE, is not one. */
function machines(name, value) {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value);
  if (!(Number.isInteger(value) && value >= 0 && value < NONE)) {
    const error = new RangeError(`${name} must be an integer from 0 to ${NONE - 1}, not ${value}`);
    error.code = 'ERR_OUT_OF_RANGE';
    throw error;
  }
  return value;
}

/** The library takes 0 for "the default", which is what an absent option gives. */
function limit(name, value) {
  if (value === undefined) return 0;
  if (typeof value !== 'number') throw wrongType(name, 'a number', value);
  if (value === Infinity) return value;
  if (!(value > 0 && value <= Number.MAX_SAFE_INTEGER)) {
    const error = new RangeError(`${name} must be a positive number or Infinity, not ${value}`);
    error.code = 'ERR_OUT_OF_RANGE';
    throw error;
  }
  return Math.ceil(value);
}

function callback(name, value) {
  if (value !== undefined && typeof value !== 'function') throw wrongType(name, 'a function', value);
  return value;
}

function code(value) {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw wrongType('code', 'a string or a Uint8Array', value);
  }
  return value;
}

function signal(value) {
  if (value === undefined) return value;
  if (value === null || typeof value !== 'object' || typeof value.aborted !== 'boolean'
      || typeof value.addEventListener !== 'function') {
    throw wrongType('signal', 'an AbortSignal', value);
  }
  return value;
}

/** As 16 bytes. The library takes zeros for "a random one", which is what an absent option gives. */
function uuid(name, value) {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw wrongType(name, 'a string', value);
  const digits = value.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(digits) || /^0*$/.test(digits)) {
    const error = new TypeError(`${name} must be 32 hexadecimal digits, not all 0, with or without dashes`);
    error.code = 'ERR_INVALID_ARG_VALUE';
    throw error;
  }
  return Buffer.from(digits, 'hex');
}

function directory(value) {
  const path = value instanceof URL ? require('node:url').fileURLToPath(value) : value;
  if (typeof path !== 'string') throw wrongType('dir', 'a string or a file: URL', value);
  if (path.includes('\0')) {
    const error = new TypeError('dir must not contain a NUL');
    error.code = 'ERR_INVALID_ARG_VALUE';
    throw error;
  }
  return path;
}

module.exports = { NONE, callback, code, directory, flag, limit, machines, options, signal, uuid };
