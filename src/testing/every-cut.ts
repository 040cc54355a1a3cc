import { isDeepStrictEqual } from 'node:util';
import { ConversationError, conversation, type Outcome } from './conversation.ts';
import type { Rule } from './rule.ts';
import type { ConversationSetup } from './simulation.ts';
import { describeStep, type Step } from './steps.ts';

type SendStep = Extract<Step, { type: 'send' }>;

interface Variant {
  /** What is done to the segments. */
  readonly name: string;
  readonly steps: readonly Step[];
}

/**
 * Has a conversation as its steps say, and then again and again with other segments: with one of
 * them cut in two, at each place; with every byte in a segment of its own; and with what a side
 * sends without anything demanded in between joined in one segment. Each time the steps must be met
 * and the outcome be the same. That makes one run for each byte sent, of some 100 microseconds:
 * bulk is better sent in a plain `conversation`.
 *
 * @throws ConversationError for the first run that differs, with how it was cut
 */
export function everyCut(rule: Rule, setup: ConversationSetup, steps: readonly Step[]): Outcome {
  const expected = conversation(rule, setup, steps);
  for (const variant of variants(steps)) {
    const outcome = attempt(rule, setup, variant);
    if (isDeepStrictEqual(outcome, expected)) continue;
    const [is, should] = [outcome, expected].map((value) => JSON.stringify(value, undefined, 2));
    throw new ConversationError(`${variant.name} the outcome is\n${is}\ninstead of\n${should}`);
  }
  return expected;
}

function attempt(rule: Rule, setup: ConversationSetup, variant: Variant): Outcome {
  try {
    return conversation(rule, setup, variant.steps);
  } catch (error) {
    if (!(error instanceof ConversationError)) throw error;
    throw new ConversationError(`${variant.name}: ${error.message}`);
  }
}

function* variants(steps: readonly Step[]): Generator<Variant> {
  const joined = join(steps);
  if (joined !== undefined) yield { name: 'with the segments joined', steps: joined };
  yield { name: 'with every byte by itself', steps: steps.map(cutEverywhere) };
  for (const [index, step] of steps.entries()) {
    if (step.type !== 'send') continue;
    const bytes = bytesOf(step);
    for (let at = 1; at < bytes.length; at++) {
      const cut = { ...step, parts: [bytes.subarray(0, at), bytes.subarray(at)] };
      const name = `with step ${index + 1}, ${describeStep(step)}, cut after ${at} bytes`;
      yield { name, steps: steps.with(index, cut) };
    }
  }
}

function cutEverywhere(step: Step): Step {
  if (step.type !== 'send') return step;
  return { ...step, parts: Array.from(bytesOf(step), (byte) => Uint8Array.of(byte)) };
}

/** The steps with neighbouring segments of one side in the first step, the others being empty. */
function join(steps: readonly Step[]): Step[] | undefined {
  const joined = [...steps];
  let first: number | undefined;
  let found = false;
  for (const [index, step] of steps.entries()) {
    const before = first === undefined ? undefined : joined[first];
    if (step.type !== 'send' || before?.type !== 'send' || before.side !== step.side) {
      first = step.type === 'send' ? index : undefined;
      continue;
    }
    joined[first ?? 0] = { ...before, parts: [Buffer.concat([...before.parts, ...step.parts])] };
    joined[index] = { ...step, parts: [] };
    found = true;
  }
  return found ? joined : undefined;
}

function bytesOf(step: SendStep): Uint8Array {
  return Buffer.concat(step.parts);
}
