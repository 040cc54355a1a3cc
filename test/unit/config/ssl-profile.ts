import { expect } from 'vitest';
import { formatProblem } from '../../../src/config/index.ts';
import type { Folder } from './folder.ts';

type Kind = 'clientSsl' | 'serverSsl';

/** A configuration whose line 2 is the profile `m`, which a virtual server uses. */
function config(kind: Kind, profile: object): string {
  const server = `"v": { "listen": ":0", "${kind}": "m", "pool": "p" }`;
  const rest = `"pools": { "p": { "members": ["a:1"] } }, "virtualServers": { ${server} }`;
  return `{ "profiles": { "${kind}": { "m":\n${JSON.stringify(profile)}\n} }, ${rest} }`;
}

/** Loads profiles of one kind from a folder. */
export function profilesOf<K extends Kind>(kind: K, folder: Folder) {
  return {
    config: (keys: object) => config(kind, keys),
    problems: async (keys: object, env?: NodeJS.ProcessEnv) =>
      (await folder.problems(config(kind, keys), env)).map(withoutFile),
    warnings: async (keys: object) => (await folder.warnings(config(kind, keys))).map(withoutFile),
    /** The profile of a configuration without problems, and what files are watched for it. */
    load: async (keys: object) => {
      const result = await folder.load(config(kind, keys));
      expect(result.problems.map(formatProblem)).toEqual([]);
      const profile = result.config?.virtualServers[0]?.[kind];
      if (profile === undefined) throw new Error('no profile');
      expect(result.config?.[kind].get('m')).toBe(profile);
      return { profile, files: result.files.map((file) => file.replace(`${folder.path}/`, '')) };
    },
  };
}

function withoutFile(problem: string): string {
  return problem.replace(/^portreeve\.json:/, '');
}
