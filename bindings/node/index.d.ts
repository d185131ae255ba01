/// <reference types="node" />

/** The library's version. */
export const version: string;

/** How many runs can be in flight at once in a thread's environment; further ones wait for their turn. */
export const maxRuns: number;

export interface LoadOptions {
  /** Read and hash the memory and the root file system, and compare. Default: false. */
  verify?: boolean | undefined;
  /** Copy the memory first, so that truncating the snapshot's file does no harm. Default: false. */
  sealedCopy?: boolean | undefined;
  /**
   * The most virtual machines that are kept when their sandboxes are closed, put back to the snapshot's state byte for
   * byte, and given to later forks. When nobody has forked for ten seconds, one is left. 0 for none. Default: four a
   * processor, but at least eight.
   */
  recycleMax?: number | undefined;
  /** The most new virtual machines that are made ahead of forks. Default: 0, for none. */
  prewarm?: number | undefined;
}

/**
 * Loads a snapshot. `zeroboot template inspect --path NAME` prints the directory of a template.
 *
 * @throws {ZerobootError} for one that is not there, is damaged, or cannot run on this host.
 */
export function load(dir: string | URL, options?: LoadOptions): Promise<Snapshot>;

export interface ForkOptions {
  /** A virtual machine in which no program ever ran, not one that was put back to its start. Default: false. */
  fresh?: boolean | undefined;
  /**
   * Its name, a UUID, with or without dashes; the guest finds it in /etc/machine-id. Default: a random one.
   */
  instanceId?: string | undefined;
}

/** A loaded snapshot. Sandboxes outlive it. Until it is closed, it keeps virtual machines for forks to come. */
export class Snapshot implements AsyncDisposable {
  private constructor();
  /** The runtime that runs the programs: "python", for one. */
  readonly runtime: string;
  /** How much memory a guest has. */
  readonly memoryBytes: number;
  readonly closed: boolean;
  /** Makes a sandbox. */
  fork(options?: ForkOptions): Promise<Sandbox>;
  /** Frees the snapshot, and the virtual machines that it keeps. May be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What gets a piece of output. A promise that it returns is waited for before the next piece. */
export type OutputCallback = (piece: Buffer) => unknown;

export interface RunOptions {
  /** The longest time that the program may take; Infinity for no limit. Default: 60,000. */
  timeoutMs?: number | undefined;
  /** The most that it may print, both streams together; Infinity for no limit. Default: 64 MiB. */
  maxOutputBytes?: number | undefined;
  /** Stops the run, which then rejects with an AbortError. */
  signal?: AbortSignal | undefined;
  /** Gets the standard output as it comes, besides the result. If it throws, the run is stopped and rejects so. */
  onStdout?: OutputCallback | undefined;
  /** The same for the standard error. */
  onStderr?: OutputCallback | undefined;
  /** Reject with a RunError when the exit code is not 0. Default: false. */
  check?: boolean | undefined;
}

/** A virtual machine of its own. */
export class Sandbox implements AsyncDisposable {
  private constructor();
  /** Whether it can run another program: after any outcome but "exited" it cannot. */
  readonly alive: boolean;
  readonly closed: boolean;
  /** Its name, 32 hexadecimal digits: what fork() was given, or a random one. */
  readonly instanceId: string;
  /**
   * Runs a program. However it ends, also by its timeout, that is a result; but see `check` and `signal`.
   *
   * @throws {ZerobootError} if it could not be run; code ZB_ERR_BUSY while another run is under way.
   */
  run(code: string | Uint8Array, options?: RunOptions): Promise<Result>;
  /** Ends the virtual machine; a run in flight gets the outcome "cancelled". May be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a run ended; later versions may add some. Only after "exited" the sandbox can run another program. */
export type Outcome =
  | 'exited'
  | 'process_exited'
  | 'signaled'
  | 'out_of_memory'
  | 'timed_out'
  | 'cancelled'
  | 'output_limit'
  | 'crashed'
  | 'memory_limit';

/** How a run ended, and what it printed until then. */
export class Result {
  private constructor();
  readonly outcome: Outcome;
  /** 0 to 255 for "exited" and "process_exited", else null. */
  readonly exitCode: number | null;
  /** The number of the signal for "signaled", else null. */
  readonly signal: number | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly elapsedMs: number;
  /** How it ended, in English. */
  readonly message: string;
  /** Whether the exit code is 0. */
  readonly ok: boolean;
  /** stdout as UTF-8 text. */
  readonly stdoutText: string;
  /** stderr as UTF-8 text. */
  readonly stderrText: string;
}

/** The statuses of the library, and ZB_ERR_CLOSED for what was closed here. */
export type ErrorCode =
  | 'ZB_ERR_INVALID_ARGUMENT'
  | 'ZB_ERR_UNSUPPORTED'
  | 'ZB_ERR_NOT_FOUND'
  | 'ZB_ERR_CORRUPT'
  | 'ZB_ERR_VERSION'
  | 'ZB_ERR_HOST'
  | 'ZB_ERR_CLOCK'
  | 'ZB_ERR_KVM'
  | 'ZB_ERR_LIMIT'
  | 'ZB_ERR_IO'
  | 'ZB_ERR_NO_MEMORY'
  | 'ZB_ERR_BUSY'
  | 'ZB_ERR_DEAD'
  | 'ZB_ERR_WRONG_PROCESS'
  | 'ZB_ERR_INTERNAL'
  | 'ZB_ERR_CLOSED';

/** Something did not work. What a program does is a result, and no error. */
export class ZerobootError extends Error {
  protected constructor();
  /** An ErrorCode; later versions may add some. */
  readonly code: ErrorCode | (string & {});
  /** The positive errno that the system gave, if it gave one. */
  readonly errno?: number;
}

/** A program's end that `check` does not let pass; code is "ZB_OUTCOME_TIMED_OUT", for one. */
export class RunError extends ZerobootError {
  readonly result: Result;
}

/** The run's AbortSignal was triggered; `cause` is the signal's reason. */
export class AbortError extends Error {
  private constructor();
  readonly name: 'AbortError';
  readonly code: 'ABORT_ERR';
  /** What the run gave until then, if it had begun. */
  readonly result?: Result;
}
