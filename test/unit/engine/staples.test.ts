import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Config } from '../../../src/config/index.ts';
import type { TlsIdentity } from '../../../src/config/types.ts';
import { Staples } from '../../../src/engine/staples.ts';
import { OcspStaple } from '../../../src/net/ocsp-staple.ts';
import { type Leaf, OcspLab } from '../net/ocsp-lab.ts';
import { RecordingLogger } from './engine-lab.ts';

let lab: OcspLab;
let leaf: Leaf;
let response: string;

beforeAll(async () => {
  lab = await OcspLab.open();
  const authority = await lab.authority('Authority');
  // Nobody listens there.
  leaf = await lab.leaf(authority, 1);
  const bytes = await lab.respond(leaf, authority, authority, '-ndays', '1');
  response = bytes.toString('base64');
});
afterAll(() => lab.close());

function identity(ocsp: TlsIdentity['ocsp']): TlsIdentity {
  return {
    names: ['leaf.test'],
    material: { cert: '', key: '' },
    leaf: leaf.certificate.toString(),
    issuer: leaf.issuer.toString(),
    ...(ocsp !== undefined && { ocsp }),
  };
}

/** A profile for each. */
function config(...ocsp: readonly TlsIdentity['ocsp'][]): Config {
  const profiles = ocsp.map((each, i) => [`${i}`, { identities: [identity(each)] }] as const);
  return { clientSsl: new Map(profiles) } as unknown as Config;
}

it('one response serves all profiles that share a certificate, and none is left behind', () => {
  const started = vi.spyOn(OcspStaple.prototype, 'start');
  const closed = vi.spyOn(OcspStaple.prototype, 'close');
  const staples = new Staples(new RecordingLogger());
  const current = () => staples.current(identity(undefined))?.toString('base64');
  staples.use(config('fetch', 'fetch', { response }));
  staples.use(config('fetch', { response }, 'fetch'));
  expect(started).toHaveBeenCalledTimes(1);
  expect(current()).toBeUndefined();
  staples.use(config(undefined, { response }, 'fetch'));
  expect(started).toHaveBeenCalledTimes(2);
  expect(current()).toBe(response);
  staples.close();
  expect(new Set(closed.mock.contexts)).toEqual(new Set(started.mock.contexts));
});
