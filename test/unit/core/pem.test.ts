import fc from 'fast-check';
import { expect, it } from 'vitest';
import { toPem } from '../../../src/core/pem.ts';

it('PEM has the bytes in lines of 64 characters', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (der) => {
      const lines = toPem(der).split('\n');
      expect(lines[0]).toBe('-----BEGIN CERTIFICATE-----');
      expect(lines.slice(-2)).toEqual(['-----END CERTIFICATE-----', '']);
      const text = lines.slice(1, -2);
      expect(text.join('')).toBe(Buffer.from(der).toString('base64'));
      for (const line of text.slice(0, -1)) expect(line).toHaveLength(64);
      expect((text.at(-1) ?? '').length).toBeLessThanOrEqual(64);
    }),
  );
});
