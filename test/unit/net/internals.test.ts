import { afterEach, describe, expect, it, vi } from 'vitest';

type Binding = Record<string, unknown>;
type WithBinding = typeof process & { binding(name: string): Binding };

const { binding } = process as WithBinding;

/** What `internals` is on a Node whose bindings differ from this one's. */
async function internalsWith(change: (all: Binding, name: string) => Binding): Promise<unknown> {
  vi.resetModules();
  vi.spyOn(process as WithBinding, 'binding').mockImplementation((name) =>
    change({ ...binding.call(process, name) }, name),
  );
  return (await import('../../../src/net/internals.ts')).internals;
}

/** A class without one of its methods. */
function without(type: unknown, method: string): unknown {
  const { prototype } = type as { prototype: object };
  const names: string[] = [];
  for (let at = prototype; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    names.push(...Object.getOwnPropertyNames(at));
  }
  const left = Object.create(null);
  for (const name of names) if (name !== method) left[name] = () => 0;
  return { prototype: left };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

describe('internals', () => {
  it('are there on this Node', async () => {
    expect(await internalsWith((all) => all)).toBeDefined();
  });

  it.each([
    'TCP',
    'TCPConnectWrap',
    'WriteWrap',
    'ShutdownWrap',
    'constants',
    'streamBaseState',
    'kReadBytesOrError',
    'kLastWriteWasAsync',
    'TLSWrap',
    'wrap',
  ])('are not used where %s is missing', async (name) => {
    const changed = ({ [name]: _missing, ...rest }: Binding) => rest;
    expect(await internalsWith(changed)).toBeUndefined();
  });

  it.each([
    ['TCP', 'useUserBuffer'],
    ['TCP', 'readStart'],
    ['TCP', 'readStop'],
    ['TCP', 'writeBuffer'],
    ['TCP', 'shutdown'],
    ['TCP', 'close'],
    ['TCP', 'reset'],
    ['TCP', 'setNoDelay'],
    ['TCP', 'bind'],
    ['TCP', 'bind6'],
    ['TCP', 'connect'],
    ['TCP', 'connect6'],
    ['TCP', 'getsockname'],
    ['TCP', 'getpeername'],
    ['TLSWrap', 'useUserBuffer'],
    ['TLSWrap', 'readStart'],
    ['TLSWrap', 'readStop'],
    ['TLSWrap', 'writeBuffer'],
    ['TLSWrap', 'shutdown'],
    ['TLSWrap', 'receive'],
    ['TLSWrap', 'destroySSL'],
  ])('are not used where %s has no %s', async (type, method) => {
    const changed = (all: Binding) =>
      type in all ? { ...all, [type]: without(all[type], method) } : all;
    expect(await internalsWith(changed)).toBeUndefined();
  });

  it('are not used where bindings cannot be had', async () => {
    const refuse = () => {
      throw new Error('No such binding');
    };
    expect(await internalsWith(refuse)).toBeUndefined();
    vi.restoreAllMocks();
    vi.resetModules();
    vi.stubGlobal('process', { ...process, binding: undefined });
    expect((await import('../../../src/net/internals.ts')).internals).toBeUndefined();
  });

  it('are not used where the environment forbids it', async () => {
    vi.stubEnv('PORTREEVE_PUBLIC_API_ONLY', '1');
    expect(await internalsWith((all) => all)).toBeUndefined();
  });

  it('are asked for in vain with an error', async () => {
    vi.stubEnv('PORTREEVE_PUBLIC_API_ONLY', '1');
    vi.resetModules();
    const { needInternals } = await import('../../../src/net/internals.ts');
    expect(needInternals).toThrow('no raw TCP handles');
  });
});
