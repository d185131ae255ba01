'use strict';

// The addon finds libzeroboot.so beside itself.
const place = `../prebuilt/${process.platform}-${process.arch}/zeroboot.node`;

try {
  module.exports = require(place);
} catch (cause) {
  if (process.platform === 'linux' && process.arch === 'x64') throw cause;
  throw new Error(`zeroboot runs on Linux on x86-64, not on ${process.platform} on ${process.arch}`, { cause });
}
