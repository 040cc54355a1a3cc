import type { RuleRun } from '../../../src/core/rule-run.ts';
import type { Side } from '../../../src/core/types.ts';
import type { Handlers } from './flow-lab.ts';

/** Collects on the event's own side. */
export const collects = (run: RuleRun): undefined => {
  run.emit({ type: 'collect', side: run.side });
  return undefined;
};

/**
 * Lets all go on but the words STARTTLS and PLAIN and the line end behind them: those it answers
 * itself, and changes TLS. BYE ends the collecting.
 */
export function flipping(side: Side): Handlers {
  const handler = (run: RuleRun): undefined => {
    const text = Buffer.from(run.payload(side)).toString('latin1');
    const command = /(STARTTLS|PLAIN|BYE)\n/.exec(text);
    const before = command?.index ?? text.replace(/[A-Z]+$/, '').length;
    run.emit({ type: 'release', side, length: before });
    if (command === null) {
      run.emit({ type: 'collect', side });
      return undefined;
    }
    const { length } = command[0];
    run.emit({ type: 'replace', side, offset: 0, length, data: Buffer.alloc(0) });
    run.emit({ type: 'respond', side, data: Buffer.from('OK\n') });
    if (command[1] !== 'BYE') {
      run.emit({ type: 'tls', side, enabled: command[1] === 'STARTTLS' });
    }
    if (command[1] === 'PLAIN') run.emit({ type: 'collect', side });
    return undefined;
  };
  const starts = (run: RuleRun): undefined => {
    run.emit({ type: 'collect', side });
    return undefined;
  };
  return side === 'client'
    ? {
        SERVER_CONNECTED: starts,
        CLIENT_DATA: handler,
        CLIENTSSL_HANDSHAKE: collects,
        CLIENTSSL_DATA: handler,
      }
    : {
        SERVER_CONNECTED: starts,
        SERVER_DATA: handler,
        SERVERSSL_HANDSHAKE: collects,
        SERVERSSL_DATA: handler,
      };
}
