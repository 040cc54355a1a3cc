import type { Certificate } from './certificate.ts';
import { type Portreeve, startPortreeve } from './portreeve.ts';
import { type StarttlsProtocol, starttlsProtocols } from './tls-protocols.ts';
import { Stub } from './tls-stub.ts';
import { TlsWire } from './tls-wire.ts';

/** A virtual server that has no rule: TLS from the first byte on, and a stub of POP3 behind it. */
export const IMPLICIT = 'implicit';

/** One Portreeve with every bundled rule for STARTTLS, each in front of a stub of its own. */
export class StarttlsBench {
  private constructor(
    readonly portreeve: Portreeve,
    private readonly stubs: ReadonlyMap<string, Stub>,
  ) {}

  /** @param tcp - what the tcp profile of all virtual servers says */
  static async start(certificate: Certificate, tcp: object = {}): Promise<StarttlsBench> {
    const stubs = new Map<string, Stub>();
    const virtualServers: Record<string, object> = {};
    const pools: Record<string, object> = {};
    const implicit = { ...starttlsProtocols.pop3, rule: undefined };
    const all = { ...starttlsProtocols, [IMPLICIT]: implicit };
    for (const [name, { rule, stub: script }] of Object.entries(all)) {
      const stub = await Stub.start(script);
      stubs.set(name, stub);
      const rules = rule === undefined ? [] : [rule];
      const profiles = { clientSsl: 'tls', tcp: 'tcp' };
      virtualServers[name] = { listen: '127.0.0.1:0', ...profiles, pool: name, rules };
      pools[name] = { members: [`127.0.0.1:${stub.port}`] };
    }
    const profiles = {
      clientSsl: { tls: { cert: 'cert.pem', key: 'key.pem' } },
      tcp: { tcp },
    };
    const files = { 'cert.pem': certificate.cert, 'key.pem': certificate.key };
    const portreeve = await startPortreeve({ virtualServers, pools, profiles }, files);
    return new StarttlsBench(portreeve, stubs);
  }

  async stop(): Promise<void> {
    TlsWire.destroyAll();
    await this.portreeve.stop();
    for (const stub of this.stubs.values()) await stub.stop();
  }

  stub(name: string): Stub {
    const stub = this.stubs.get(name);
    if (stub === undefined) throw new Error(`there is no stub ${name}`);
    return stub;
  }

  /** A client that has said nothing yet. */
  connect(name: string): Promise<TlsWire> {
    return TlsWire.connect(this.portreeve.port(name));
  }

  /** A client that has said all that comes before STARTTLS. */
  async open(name: string, protocol: StarttlsProtocol): Promise<TlsWire> {
    const wire = await this.connect(name);
    for (const { send, answer } of protocol.opening) {
      if (send !== '') wire.send(send);
      await wire.next(answer);
    }
    return wire;
  }

  /** A client that may begin TLS now. */
  async ask(name: string, protocol: StarttlsProtocol): Promise<TlsWire> {
    const wire = await this.open(name, protocol);
    wire.send(protocol.command);
    if (protocol.goAhead !== '') await wire.next(protocol.goAhead);
    // Without a go-ahead, all that counts is that nothing of the plaintext is left.
    return wire;
  }
}
