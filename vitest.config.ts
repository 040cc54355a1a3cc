import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { programs } from './test/integration/harness/programs.ts';

/** Where programs are besides the search path of an ordinary user. */
const serverFolders = ['/usr/sbin', '/sbin', '/usr/lib/dovecot', '/usr/lib/news/bin'];

function isInstalled(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), ...serverFolders];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const missing = Object.keys(programs).filter((program) => !isInstalled(program));
// In CI they must be there: a test that finds one missing fails and names its package.
const leavesOut = missing.length > 0 && process.env.CI === undefined;
if (leavesOut) {
  const packages = missing.map((program) => programs[program]).join(' ');
  console.warn(`The integration tests are left out. They need: apt-get install ${packages}\n`);
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'rules/**/*.test.ts', 'test/fuzz/**/*.test.ts'],
        },
      },
      {
        test: {
          name: 'integration',
          include: leavesOut ? [] : ['test/integration/**/*.test.ts'],
          globalSetup: leavesOut ? [] : ['test/integration/harness/build.ts'],
          setupFiles: ['test/integration/harness/setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          // After the unit tests: deadlines are measured here, and need the machine to themselves.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
