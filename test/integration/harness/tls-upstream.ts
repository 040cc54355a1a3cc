import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { OutputLog } from './output-log.ts';

/** A server's part in a protocol with STARTTLS. All that it says in plaintext has the word PLAIN. */
export interface UpstreamProtocol {
  readonly greeting: string;
  /** What it says to the client's name, with STARTTLS and without; where it is asked. */
  readonly offer?: { readonly whole: string; readonly stripped: string };
  readonly goAhead: string;
  readonly refusal: string;
  /** What it would like the client to take for an answer from inside TLS. */
  readonly glued: string;
  /** What it says inside TLS. */
  readonly inside: string;
  /** What a client sends to log in: it has the word SECRET. */
  readonly login: string;
  /** What the client gets when TLS does not start. */
  readonly failure: RegExp;
}

function smtpProtocol(hello: string): UpstreamProtocol {
  return {
    greeting: '220 PLAIN\r\n',
    offer: {
      whole: '250-PLAIN\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n',
      stripped: '250-PLAIN\r\n250 AUTH PLAIN\r\n',
    },
    goAhead: '220 2.0.0 PLAIN\r\n',
    refusal: '454 4.7.0 PLAIN\r\n',
    glued: '250 2.0.0 PLAIN\r\n',
    inside: '235 2.7.0 inside\r\n',
    login: `${hello} SECRET.example\r\nAUTH PLAIN SECRET\r\n`,
    failure: /^421 .*\r\n$/,
  };
}

export const upstreamProtocols = {
  pop3: {
    greeting: '+OK PLAIN\r\n',
    goAhead: '+OK PLAIN\r\n',
    refusal: '-ERR PLAIN\r\n',
    glued: '+OK PLAIN\r\n',
    inside: '+OK inside\r\n',
    login: 'USER SECRET\r\nPASS SECRET\r\n',
    failure: /^-ERR .*\r\n$/,
  },
  imap: {
    greeting: '* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] PLAIN\r\n',
    goAhead: 'a OK PLAIN\r\n',
    refusal: 'a NO PLAIN\r\n',
    glued: '* CAPABILITY IMAP4rev1 PLAIN\r\n',
    inside: 'x OK inside\r\n',
    login: 'x LOGIN SECRET SECRET\r\n',
    failure: /^\* BYE .*\r\n$/,
  },
  smtp: smtpProtocol('EHLO'),
  lmtp: smtpProtocol('LHLO'),
} satisfies Record<string, UpstreamProtocol>;

/** What the server does otherwise than a good one. */
export interface Misbehaviour {
  readonly greeting?: string;
  /** It says something else to the client's name. */
  readonly offer?: string;
  /** What it says to STARTTLS. */
  readonly answer?: string;
  /** What it does when it should handshake. */
  readonly handshake?: 'stalls' | 'closes';
  /** Its certificate and key, in PEM. */
  readonly certificate: { readonly cert: string; readonly key: string };
}

/** A server with STARTTLS that can be told to misbehave; keeps what reaches it. */
export class UpstreamServer {
  /** What came in plaintext. */
  plain = new OutputLog();
  /** What came inside TLS. */
  inside = new OutputLog();
  private behaviour: Misbehaviour | undefined;
  private readonly open = new Set<Socket>();
  private readonly server = createServer({ noDelay: true }, (socket) => this.accept(socket));

  private constructor(private readonly protocol: UpstreamProtocol) {}

  static async start(protocol: UpstreamProtocol): Promise<UpstreamServer> {
    const server = new UpstreamServer(protocol);
    server.server.listen(0, '127.0.0.1');
    await once(server.server, 'listening');
    return server;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** What it does from now on; forgets what came before. */
  behave(behaviour: Misbehaviour): void {
    this.behaviour = behaviour;
    this.plain = new OutputLog();
    this.inside = new OutputLog();
  }

  async stop(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(socket: Socket): void {
    const { behaviour, protocol, plain } = this;
    if (behaviour === undefined) throw new Error('the server does not know what to do');
    this.open.add(socket);
    socket.on('close', () => this.open.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      plain.append(chunk);
      const line = chunk.toString('latin1');
      if (/^[EL]HLO /.test(line)) {
        socket.write(behaviour.offer ?? protocol.offer?.whole ?? '');
      } else if (/^(?:a )?(?:STLS|STARTTLS)\r\n$/.test(line)) {
        this.startTls(socket, behaviour);
      }
    });
    socket.write(behaviour.greeting ?? protocol.greeting);
  }

  private startTls(socket: Socket, { answer, handshake, certificate }: Misbehaviour): void {
    socket.removeAllListeners('data');
    const says = answer ?? this.protocol.goAhead;
    socket.write(says);
    if (handshake === 'stalls' || says === this.protocol.refusal) {
      // What comes instead of a handshake would be in plaintext.
      const { plain } = this;
      socket.on('data', (chunk: Buffer) => handshake ?? plain.append(chunk));
    } else if (handshake === 'closes') {
      socket.once('data', () => socket.destroy());
    } else {
      const { inside, protocol } = this;
      const tls = new TLSSocket(socket, { isServer: true, ...certificate });
      tls.on('error', () => undefined);
      tls.on('data', (chunk: Buffer) => {
        inside.append(chunk);
        tls.write(protocol.inside);
      });
    }
  }
}
