import { checkFile } from '../engine/index.ts';
import { exitCodes } from './exit-codes.ts';
import { escapeControls } from './log-text.ts';
import { formatProblem } from './problems.ts';

/** `portreeve check`: prints what is wrong with each file. Returns the exit code. */
export async function check(files: readonly string[]): Promise<number> {
  let code: number = exitCodes.fine;
  for (const file of files) {
    const { problems, warnings } = await checkFile(file);
    process.stdout.write(problems.map(formatProblem).join(''));
    process.stdout.write(warnings.map((each) => `warning: ${formatProblem(each)}`).join(''));
    process.stdout.write(`${escapeControls(file)}: ${summary(problems.length)}\n`);
    if (problems.length > 0) code = exitCodes.mistake;
  }
  return code;
}

function summary(problems: number): string {
  if (problems === 0) return 'fine';
  return problems === 1 ? '1 problem' : `${problems} problems`;
}
