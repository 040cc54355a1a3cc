import type { RuleEventName } from '../core/rule-events.ts';
import type { FlowView, RuleRun } from '../core/rule-run.ts';
import type { Side } from '../core/types.ts';
import { type CommandSpec, command } from './spec.ts';

/** TCP.* works on the bytes of a side without TLS, SSL.* on the plaintext of one with TLS. */
export type Layer = 'TCP' | 'SSL';

/** The flow of a run. Commands that need one are refused in RULE_INIT before they are called. */
export function flowOf(run: RuleRun): FlowView {
  if (run.flow === undefined) throw new Error('there is no connection');
  return run.flow;
}

/** The current side, if it is open and its topmost layer is the one that the command means. */
function sideFor(run: RuleRun, layer: Layer, command: string): Side {
  const side = run.side;
  const view = flowOf(run)[side];
  if (!view.open) throw new Error(`${command}: the ${side} side is not connected`);
  const { tls } = view;
  if (tls === 'hello' || tls === 'handshake' || tls === 'closing') {
    throw new Error(`${command}: TLS on the ${side} side is being changed`);
  }
  checkLayer(layer, command, side, view.depth);
  return side;
}

function checkLayer(layer: Layer, command: string, side: Side, depth: number): void {
  if (layer === 'TCP' && depth > 0) {
    throw new Error(`${command}: the ${side} side speaks TLS; use SSL.${command.slice(4)}`);
  }
  if (layer === 'SSL' && depth === 0) {
    throw new Error(`${command}: the ${side} side does not speak TLS; use TCP.${command.slice(4)}`);
  }
}

/** Like `sideFor`, for `collect`: also for what comes when TLS that is being taken off is gone. */
function sideToCollect(run: RuleRun, layer: Layer, command: string): Side {
  const { side } = run;
  const { tls, depth } = flowOf(run)[side];
  const isClosing = tls === 'closing' || (run.stopsTls(side) && tls === 'secured');
  if (isClosing || (tls === 'hello' && run.stopsTls(side))) {
    checkLayer(layer, command, side, isClosing ? depth - 1 : depth);
    return side;
  }
  return sideFor(run, layer, command);
}

/** The bytes of a side, or of its first `length`, or of `length` from an offset on. */
function range(run: RuleRun, side: Side, first?: number, length?: number): Uint8Array {
  const held = run.payload(side);
  if (first === undefined) return held;
  if (length === undefined) return held.subarray(0, first);
  return held.subarray(first, first + length);
}

/** Up to here the search takes time that grows with the held bytes only, whatever both contain. */
const LONGEST_NEEDLE = 250;

/** @throws RangeError when the needle is too long */
function indexOf(held: Uint8Array, needle: Uint8Array, from: number): number {
  if (needle.length > LONGEST_NEEDLE) {
    throw new RangeError(`payload.indexOf: needle must have at most ${LONGEST_NEEDLE} bytes`);
  }
  const buffer = Buffer.from(held.buffer, held.byteOffset, held.length);
  return needle.length === 0 ? Math.min(from, held.length) : buffer.indexOf(needle, from);
}

const DATA_EVENTS = {
  TCP: ['CLIENT_DATA', 'SERVER_DATA'],
  SSL: ['CLIENTSSL_DATA', 'SERVERSSL_DATA'],
} as const satisfies Record<Layer, readonly RuleEventName[]>;

const length = { name: 'length', type: 'integer', optional: true } as const;

/** `collect`, `release`, `payload` and `respond` of one layer. */
export function payloadCommands(layer: Layer): readonly CommandSpec[] {
  return [...flowControl(layer), ...reading(layer), ...changing(layer)];
}

function flowControl(layer: Layer): readonly CommandSpec[] {
  const name = (suffix: string) => `${layer}.${suffix}`;
  const tcl = (suffix: string) => `${layer}::${suffix}`;
  const [clientEvent, serverEvent] = DATA_EVENTS[layer];
  const fires = `${clientEvent} or ${serverEvent}`;
  return [
    command(
      name('collect'),
      {
        tcl: tcl('collect'),
        params: [length, { name: 'skip', type: 'integer', optional: true }],
        returns: 'void',
        validIn: 'connection',
        doc: `Holds back the bytes that arrive on the current side, and fires ${fires} for them. Without \`length\` the event fires for every segment; with it, when at least \`length\` bytes (1 or more) are held. \`skip\` lets that many bytes pass first; the event then also fires when they have. The last call wins. On the client side it delays the connection to the server until \`${layer}.release()\`. Collecting ends with \`${layer}.release()\`: call \`collect\` again for more. More than the virtual server's \`collectLimit\` resets the connection.`,
      },
      (run, length, skip) => {
        const side = sideToCollect(run, layer, name('collect'));
        if (length === 0) throw new RangeError(`${name('collect')}: length must be at least 1`);
        run.emit({
          type: 'collect',
          side,
          ...(length !== undefined && { length }),
          ...(skip !== undefined && skip > 0 && { skip }),
        });
      },
    ),
    command(
      name('release'),
      {
        tcl: tcl('release'),
        params: [length],
        returns: 'integer',
        validIn: 'connection',
        doc: 'Lets up to `length` held bytes of the current side (default: all) go on, ends the collecting, and returns how many bytes it released. Bytes beyond `length` stay held only if `collect` is called in the same event.',
      },
      (run, length) => {
        const side = sideFor(run, layer, name('release'));
        const released = Math.min(length ?? Number.MAX_SAFE_INTEGER, run.payloadLength(side));
        run.emit({ type: 'release', side, length: released });
        return released;
      },
    ),
  ];
}

function reading(layer: Layer): readonly CommandSpec[] {
  const name = (suffix: string) => `${layer}.payload${suffix}`;
  const offset = { name: 'offset', type: 'integer', optional: true } as const;
  return [
    command(
      name(''),
      {
        tcl: `${layer}::payload`,
        params: [{ name: 'offsetOrLength', type: 'integer', optional: true }, length],
        returns: 'binary',
        validIn: 'connection',
        doc: `The held bytes of the current side, one character a byte: all of them, the first \`n\` with \`${layer}.payload(n)\`, or \`length\` bytes from \`offset\` on with \`${layer}.payload(offset, length)\`. Edits of the same event are seen.`,
      },
      (run, first, length) => range(run, sideFor(run, layer, name('')), first, length),
    ),
    command(
      name('.bytes'),
      {
        params: [offset, length],
        returns: 'bytes',
        validIn: 'connection',
        doc: 'Like `payload`, as a new Uint8Array: from `offset` (default 0) on, `length` bytes (default: the rest).',
      },
      (run, offset, length) =>
        range(run, sideFor(run, layer, name('.bytes')), offset ?? 0, length ?? 2 ** 31),
    ),
    command(
      name('.length'),
      {
        tcl: `${layer}::payload length`,
        params: [],
        returns: 'integer',
        validIn: 'connection',
        doc: 'How many bytes are held on the current side.',
      },
      (run) => run.payloadLength(sideFor(run, layer, name('.length'))),
    ),
    command(
      name('.indexOf'),
      {
        params: [
          { name: 'needle', type: 'binary' },
          { name: 'from', type: 'integer', optional: true },
        ],
        returns: 'integer',
        validIn: 'connection',
        doc: `The offset of the first occurrence of \`needle\` in the held bytes, from \`from\` (default 0) on, or -1. \`needle\` has at most ${LONGEST_NEEDLE} bytes. Cheaper than \`payload().indexOf()\`: the bytes are not handed to the rule.`,
      },
      (run, needle, from) =>
        indexOf(run.payload(sideFor(run, layer, name('.indexOf'))), needle, from ?? 0),
    ),
  ];
}

function changing(layer: Layer): readonly CommandSpec[] {
  const data = { name: 'data', type: 'binary' } as const;
  return [
    command(
      `${layer}.payload.replace`,
      {
        tcl: `${layer}::payload replace`,
        params: [{ name: 'offset', type: 'integer' }, { name: 'length', type: 'integer' }, data],
        returns: 'void',
        validIn: 'connection',
        doc: 'Replaces `length` held bytes of the current side from `offset` on by `data`. Offsets beyond the end mean the end. The bytes still have to be released.',
      },
      (run, offset, length, data) => {
        const side = sideFor(run, layer, `${layer}.payload.replace`);
        run.emit({ type: 'replace', side, offset, length, data });
      },
    ),
    command(
      `${layer}.respond`,
      {
        tcl: `${layer}::respond`,
        params: [data],
        returns: 'void',
        validIn: 'connection',
        doc: 'Sends `data` to the peer of the current side, behind what was sent to it before.',
      },
      (run, data) => {
        const side = sideFor(run, layer, `${layer}.respond`);
        run.emit({ type: 'respond', side, data });
      },
    ),
  ];
}
