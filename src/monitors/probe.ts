import { assertNever, type Endpoint } from '../core/types.ts';
import { probeFtp } from './probe-ftp.ts';
import { probeHttp } from './probe-http.ts';
import { probeImap } from './probe-imap.ts';
import { probePop3 } from './probe-pop3.ts';
import { probeSendExpect } from './probe-send-expect.ts';
import { probeSmtp } from './probe-smtp.ts';
import { probeTcp, probeTcpHalfOpen } from './probe-tcp.ts';
import { probeTls } from './probe-tls.ts';
import type { MonitorSettings } from './types.ts';

/**
 * Looks once whether a server is well.
 *
 * @param signal - its abort is the deadline
 * @throws Error that tells what was expected and what came, but no password
 */
export type Probe = (
  server: Endpoint,
  settings: MonitorSettings,
  signal: AbortSignal,
) => Promise<void>;

/** Probes as the settings say. Each call makes one connection, which is gone when it settles. */
export const probe: Probe = (server, settings, signal) => {
  switch (settings.type) {
    case 'tcp':
      return probeTcp(server, signal);
    case 'tcp-half-open':
      return probeTcpHalfOpen(server, signal);
    case 'send-expect':
      return probeSendExpect(server, settings, signal);
    case 'tls':
      return probeTls(server, settings, signal);
    case 'http':
      return probeHttp(server, settings, signal);
    case 'pop3':
      return probePop3(server, settings, signal);
    case 'imap':
      return probeImap(server, settings, signal);
    case 'smtp':
      return probeSmtp(server, settings, signal);
    case 'ftp':
      return probeFtp(server, settings, signal);
    default:
      return assertNever(settings);
  }
};
