export * from './index.js';
import * as zeroboot from './index.js';
export default zeroboot;
