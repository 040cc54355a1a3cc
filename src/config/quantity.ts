/** Text forms of durations and sizes: a whole number and a unit. Bare numbers are ms and bytes. */
const units = {
  duration: {
    base: 'ms',
    factors: { ms: 1, s: 1000, m: 60_000, h: 3_600_000 },
    bare: 'milliseconds',
  },
  size: {
    base: 'B',
    factors: { B: 1, KiB: 1024, MiB: 1024 * 1024 },
    bare: 'bytes',
  },
} as const satisfies Record<string, UnitInfo>;

interface UnitInfo {
  readonly base: string;
  readonly factors: Readonly<Record<string, number>>;
  readonly bare: string;
}

/** A setting that is a duration (ms) or a size (bytes), with its default and bounds. */
export interface Quantity {
  readonly unit: keyof typeof units;
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly doc: string;
}

export function quantityPattern(unit: Quantity['unit']): string {
  return `^[0-9]{1,12}(${Object.keys(units[unit].factors).join('|')})$`;
}

/** The number that a value stands for; undefined where it is not in the pattern or out of bounds. */
export function parseQuantity(quantity: Quantity, value: string | number): number | undefined {
  const amount = typeof value === 'number' ? value : parseText(units[quantity.unit], value);
  if (amount === undefined || !Number.isInteger(amount)) return undefined;
  return amount >= quantity.min && amount <= quantity.max ? amount : undefined;
}

function parseText(unit: UnitInfo, text: string): number | undefined {
  const [, digits, suffix] = /^([0-9]{1,12})([A-Za-z]+)$/.exec(text) ?? [];
  const factor = suffix === undefined ? undefined : unit.factors[suffix];
  return factor === undefined ? undefined : Number(digits) * factor;
}

/** In the largest unit that leaves a whole number. */
export function formatQuantity(quantity: Pick<Quantity, 'unit'>, amount: number): string {
  const unit: UnitInfo = units[quantity.unit];
  let text = `${amount}${unit.base}`;
  for (const [suffix, factor] of Object.entries(unit.factors)) {
    if (amount > 0 && amount % factor === 0) text = `${amount / factor}${suffix}`;
  }
  return text;
}

/** Says what is expected, for error messages and editors. */
export function describeQuantity(quantity: Quantity): string {
  const [min, max, example] = [quantity.min, quantity.max, quantity.default].map((amount) =>
    formatQuantity(quantity, amount),
  );
  return `a ${quantity.unit} from ${min} to ${max}, such as "${example}", or a number of ${units[quantity.unit].bare}`;
}
