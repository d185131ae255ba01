import zeroboot from './index.js';

export const { AbortError, Result, RunError, Sandbox, Snapshot, ZerobootError, load, maxRuns, version } = zeroboot;
export default zeroboot;
