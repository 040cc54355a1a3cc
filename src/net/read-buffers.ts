/**
 * Memory to read into. An idle connection holds 1 KiB; while reads fill their buffer it gets the
 * next larger one, because bytes for each system call decide what bulk transfer costs. The sizes
 * were measured: more steps gain nothing, and 1 MiB moves bulk at a third of the CPU of 64 KiB.
 */
const SIZES = [1024, 16_384, 131_072, 1_048_576] as const;
/** How many free buffers of each size are kept. */
const KEPT = [4096, 128, 32, 16] as const;
/** Small buffers are cut from slabs of this many, so that one costs no allocation of its own. */
const SLAB = 64;

const free: Uint8Array[][] = SIZES.map(() => []);

export const LARGEST = SIZES.length - 1;

/** A TLS record holds at most 16 KiB, and is handed out alone. */
export const LARGEST_FOR_TLS = 1;

/** A buffer of a size, from 0 (1 KiB) to LARGEST (1 MiB). */
export function takeBuffer(size: number): Uint8Array {
  const pooled = free[size]?.pop();
  if (pooled !== undefined) return pooled;
  const length = SIZES[size] ?? SIZES[0];
  if (size > 0) return Buffer.allocUnsafeSlow(length);
  const slab = Buffer.allocUnsafeSlow(length * SLAB);
  for (let i = 1; i < SLAB; i++) free[0]?.push(slab.subarray(i * length, (i + 1) * length));
  return slab.subarray(0, length);
}

/** Gives a buffer back. Nothing may read or write it any more. */
export function giveBuffer(size: number, buffer: Uint8Array): void {
  const pool = free[size];
  if (pool !== undefined && pool.length < (KEPT[size] ?? 0)) pool.push(buffer);
}
