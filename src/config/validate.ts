import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { didYouMean, nearest, quote } from '../core/text.ts';
import { type ConfigDocument, configSchema, NAME_FORM } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true, verbose: true });
const isDocument = ajv.compile<ConfigDocument>(configSchema());

/** Checks the form of the document. What is wrong is reported to `source`, each mistake once. */
export function validate(source: ConfigSource): ConfigDocument | undefined {
  const value = source.value;
  if (isDocument(value)) return value;
  const errors = isDocument.errors ?? [];
  const misspelt = new Set(errors.map(meantKey));
  const told = new Set<string>();
  for (const error of errors) {
    // A bad name is reported as an error of its object, too.
    if (error.propertyName !== undefined) continue;
    const missing = missingKey(error);
    if (missing !== undefined && misspelt.has(missing)) continue;
    const { path, message, hint, atKey } = explain(error);
    const once = JSON.stringify([path, message]);
    if (told.has(once)) continue;
    told.add(once);
    if (atKey) source.problemAtKey(path, message, hint);
    else source.problem(path, message, hint);
  }
  return undefined;
}

interface Explanation {
  readonly path: Path;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly atKey?: true;
}

function explain(error: ErrorObject): Explanation {
  const path = toPath(error.instancePath);
  const { params } = error;
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params.additionalProperty);
      const message = `unknown key ${quote(key)} in ${label(path)}`;
      return {
        path: [...path, key],
        message,
        hint: didYouMean(key, knownKeys(error)),
        atKey: true,
      };
    }
    case 'required':
      return {
        path,
        message: `${label(path)} has no ${quote(String(params.missingProperty))}`,
        atKey: true,
      };
    case 'propertyNames': {
      const name = String(params.propertyName);
      const message = `name ${quote(name)} in ${label(path)} must be ${NAME_FORM}`;
      return { path: [...path, name], message, atKey: true };
    }
    case 'enum': {
      const allowed = Array.isArray(error.schema) ? error.schema.map(String) : [];
      const hint = typeof error.data === 'string' ? didYouMean(error.data, allowed) : undefined;
      const values = allowed.map((value) => `"${value}"`).join(', ');
      return {
        path,
        message: `${label(path)} must be ${allowed.length > 1 ? 'one of ' : ''}${values}`,
        hint,
      };
    }
    default:
      return { path, message: `${label(path)} must be ${expectation(error)}` };
  }
}

const types: Readonly<Record<string, string>> = {
  object: 'an object',
  array: 'a list',
  string: 'a string',
  boolean: 'true or false',
};

function expectation(error: ErrorObject): string {
  const title = error.parentSchema?.title;
  if (typeof title === 'string') return title;
  return types[String(error.parentSchema?.type)] ?? error.message ?? 'something else';
}

function knownKeys(error: ErrorObject): string[] {
  return Object.keys(error.parentSchema?.properties ?? {});
}

/** For an unknown key: the place and name of the key that was probably meant. */
function meantKey(error: ErrorObject): string | undefined {
  if (error.keyword !== 'additionalProperties') return undefined;
  const meant = nearest(String(error.params.additionalProperty), knownKeys(error));
  return meant === undefined ? undefined : `${error.instancePath}/${meant}`;
}

function missingKey(error: ErrorObject): string | undefined {
  if (error.keyword !== 'required') return undefined;
  return `${error.instancePath}/${error.params.missingProperty}`;
}

function toPath(pointer: string): string[] {
  const steps = pointer.split('/').slice(1);
  return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

const kinds: readonly { readonly path: Path; readonly kind: string }[] = [
  { path: ['virtualServers'], kind: 'virtual server' },
  { path: ['pools'], kind: 'pool' },
  { path: ['profiles', 'clientSsl'], kind: 'client-ssl profile' },
  { path: ['profiles', 'serverSsl'], kind: 'server-ssl profile' },
  { path: ['profiles', 'tcp'], kind: 'tcp profile' },
];

/** What messages call the value at a path: `'listen' of virtual server 'pop3'`. */
export function label(path: Path): string {
  if (path.length === 0) return 'the configuration';
  const owner = kinds.find(
    (k) => path.length > k.path.length && k.path.every((step, i) => path[i] === step),
  );
  if (owner === undefined) return quote(dotted(path));
  const name = `${owner.kind} ${quote(String(path[owner.path.length]))}`;
  const rest = path.slice(owner.path.length + 1);
  return rest.length === 0 ? name : `${quote(dotted(rest))} of ${name}`;
}

function dotted(path: Path): string {
  return path
    .map((step, i) => (/^[0-9]+$/.test(String(step)) ? `[${step}]` : `${i > 0 ? '.' : ''}${step}`))
    .join('');
}
