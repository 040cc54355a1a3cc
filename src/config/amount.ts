import { describeQuantity, parseQuantity, type Quantity } from './quantity.ts';
import type { ConfigSource, Path } from './source.ts';
import { label } from './validate.ts';

/** The number that a duration or size stands for, or its default. What is none is reported. */
export function amount(
  setting: Quantity,
  written: string | number | undefined,
  path: Path,
  source: ConfigSource,
): number {
  const value = written === undefined ? setting.default : parseQuantity(setting, written);
  if (value === undefined)
    source.problem(path, `${label(path)} must be ${describeQuantity(setting)}`);
  return value ?? setting.default;
}
