// The same package from CommonJS.
import zeroboot = require('zeroboot');

async function main(): Promise<void> {
  await using snapshot: zeroboot.Snapshot = await zeroboot.load(process.argv[2] ?? '');
  await using sandbox: zeroboot.Sandbox = await snapshot.fork();
  const result: zeroboot.Result = await sandbox.run('print(6*7)', { check: true });
  process.stdout.write(result.stdout);
}

void main();
