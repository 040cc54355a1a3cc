#!/usr/bin/env node
import { existsSync } from 'node:fs';

const entry = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(entry)) {
  console.error('portreeve is not built yet: run "npm run build" first');
  process.exit(1);
}
// A reader that goes away (`portreeve run … | head -3`) must not stop the traffic.
process.stdout.on('error', () => {});
const { main } = await import(entry.href);
process.exit(await main(process.argv.slice(2)));
