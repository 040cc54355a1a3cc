import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RunningProcess, temporaryFolder, within } from './harness/process.ts';

const SCRIPT = join(import.meta.dirname, 'harness', 'reload-many.mjs');
const RELOADS = 2_000;
const WARM_UP = 300;
const MiB = 1024 * 1024;

interface Sample {
  readonly rss: number;
  readonly heapUsed: number;
  readonly files: number;
}

// A sandbox that is kept would cost more than 0.3 MiB, its rule's text 4 KiB.
test('2,000 reloads with ever new rules leave memory and files flat', {
  timeout: 180_000,
}, async () => {
  const args = ['--expose-gc', '--max-old-space-size=128', SCRIPT, temporaryFolder()];
  const child = new RunningProcess(process.execPath, [...args, `${RELOADS}`, `${WARM_UP}`]);
  const code = await within(150_000, 'the reloads', () => child.ended);
  expect(child.stderr.text).toBe('');
  expect(code).toBe(0);
  const [before, after] = JSON.parse(child.stdout.text) as [Sample, Sample];
  expect(after.rss - before.rss).toBeLessThan(40 * MiB);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(4 * MiB);
  expect(after.files - before.files).toBeLessThan(10);
});
