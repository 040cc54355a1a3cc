import { RunningProcess } from './process.ts';

/** Builds `dist/` once, before the first integration test: the tests run what is shipped. */
export async function setup(): Promise<void> {
  const npm = new RunningProcess('npm', ['run', '--silent', 'build']);
  const code = await npm.ended;
  if (code !== 0) throw new Error(`npm run build ended with ${code}\n${npm.transcript()}`);
}
