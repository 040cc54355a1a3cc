// `npm run generate`: writes the files that are made from the sources.
import { writeFile } from 'node:fs/promises';
import { generatedFiles } from './generated.ts';

// As far from `src/cli` as from `dist/cli`.
const root = new URL('../../', import.meta.url);

for (const [path, text] of generatedFiles()) await writeFile(new URL(path, root), text);
