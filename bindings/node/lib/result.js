'use strict';

// The ZB_OUTCOME_ constants, by their values.
const OUTCOME = [
  undefined,
  'exited',
  'process_exited',
  'signaled',
  'out_of_memory',
  'timed_out',
  'cancelled',
  'output_limit',
  'crashed',
  'memory_limit',
];

class Result {
  constructor([outcome, exitCode, signal, elapsedMs, stdout, stderr, message]) {
    this.outcome = OUTCOME[outcome] ?? `outcome_${outcome}`;
    this.exitCode = exitCode < 0 ? null : exitCode;
    this.signal = signal === 0 ? null : signal;
    this.stdout = stdout;
    this.stderr = stderr;
    this.elapsedMs = elapsedMs;
    this.message = message;
  }

  get ok() {
    return this.exitCode === 0;
  }

  get stdoutText() {
    return this.stdout.toString('utf8');
  }

  get stderrText() {
    return this.stderr.toString('utf8');
  }
}

module.exports = { Result };
