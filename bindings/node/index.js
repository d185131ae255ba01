'use strict';

const native = require('./lib/native.js');
const { AbortError, RunError, ZerobootError } = require('./lib/errors.js');
const { Result } = require('./lib/result.js');
const { Sandbox, Snapshot, load } = require('./lib/sandbox.js');

module.exports = {
  AbortError,
  Result,
  RunError,
  Sandbox,
  Snapshot,
  ZerobootError,
  load,
  maxRuns: native.maxRuns,
  version: native.version,
};
