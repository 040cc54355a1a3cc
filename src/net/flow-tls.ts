import type { FlowSetup } from '../core/flow.ts';
import type { IoEvent } from '../core/io-events.ts';
import { Payload } from '../core/payload.ts';
import type { CertificateMode, HelloInfo } from '../core/rule-run.ts';
import type { Endpoint, Side } from '../core/types.ts';
import type { ByteStream } from './byte-stream.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';
import type { ClientTls, ServerTls } from './tls-start.ts';

/** The TLS profiles of a virtual server. */
export interface TlsHost {
  readonly setup: FlowSetup;
  /** TLS for the client with this hello; `certificate` overrides the profile. A text: why there is none. */
  acceptingTls(hello: ClientHello, certificate: CertificateMode | undefined): ServerTls | string;
  connectingTls(server: Endpoint): ClientTls;
}

/** The driver, as far as TLS needs it. */
interface TlsDriver {
  stream(side: Side): ByteStream | undefined;
  /** The stream to use from now on. */
  replaceStream(side: Side, stream: ByteStream): void;
  feed(event: IoEvent): void;
  /** A defect of our own: it must cost this flow only. */
  crash(error: unknown): void;
  /** Looks again at what is to be read. */
  applyReading(): void;
  readonly serverEndpoint: Endpoint | undefined;
}

/** A client's first bytes, until its ClientHello is whole and somebody says how to go on. */
interface Peek {
  readonly bytes: Payload;
  readonly asks: boolean;
  hello: ClientHello | undefined;
}

/** Starts TLS on the streams of a flow and takes it off, as the flow orders. */
export class FlowTls {
  private peek: Peek | undefined;
  /** TLS starts there when what was written before has left. */
  private drains: Side | undefined;
  private certificate: CertificateMode | undefined;
  private lastHello: ClientHello | undefined;
  private clientName: string | undefined;
  private askedName: string | undefined;
  private asked: CertificateMode = 'none';

  constructor(
    private readonly driver: TlsDriver,
    private readonly host: TlsHost,
  ) {}

  /** The client is read for its ClientHello. */
  get readsHello(): boolean {
    return this.peek !== undefined && this.peek.hello === undefined;
  }

  get hello(): HelloInfo | undefined {
    return this.lastHello;
  }

  /** Handlers of the handshake are done: the hello needs no memory any more. */
  forgetHello(): void {
    this.lastHello = undefined;
  }

  serverName(side: Side): string | undefined {
    return side === 'client' ? this.clientName : this.askedName;
  }

  setCertificate(mode: CertificateMode): void {
    this.certificate = mode;
  }

  start(side: Side, leftover: Uint8Array, asks: boolean): void {
    this.driver.stream(side)?.read(false);
    if (side === 'server') {
      this.drains = 'server';
      this.drained(side);
      return;
    }
    this.peek = { bytes: new Payload(), asks, hello: undefined };
    if (leftover.length > 0) this.received(leftover);
    else this.driver.applyReading();
  }

  /** Takes what the client has sent for its ClientHello. */
  received(bytes: Uint8Array): void {
    const { peek } = this;
    if (peek === undefined) return;
    peek.bytes.append(bytes);
    const result = readClientHello(peek.bytes.bytes());
    if (result.type === 'invalid') {
      this.refuse('client', result.reason);
      return;
    }
    if (result.type === 'hello') {
      peek.hello = result.hello;
      this.lastHello = result.hello;
      this.clientName = result.hello.serverName;
      if (peek.asks) this.driver.feed({ type: 'hello' });
      else this.accept();
    }
    // Not before: where TLS has begun, its stream reads on, and to stop and start costs system calls.
    this.driver.applyReading();
  }

  /** Goes on with the handshake behind the ClientHello. */
  accept(): void {
    this.drains = 'client';
    this.drained('client');
  }

  stop(side: Side): void {
    const { peek } = this;
    if (peek === undefined) {
      this.driver.stream(side)?.stopTls();
      return;
    }
    this.peek = undefined;
    this.driver.feed({ type: 'data', side, bytes: peek.bytes.bytes() });
  }

  /** The stream of the side has nothing pending. */
  drained(side: Side): void {
    const stream = this.driver.stream(side);
    if (this.drains !== side || stream === undefined || stream.pendingBytes > 0) return;
    this.drains = undefined;
    try {
      if (side === 'server') this.connect(stream);
      else this.answer(stream);
    } catch (error) {
      this.driver.crash(error);
    }
  }

  private connect(stream: ByteStream): void {
    const { serverEndpoint } = this.driver;
    if (serverEndpoint === undefined) return;
    const start = this.host.connectingTls(serverEndpoint);
    this.askedName = start.serverName;
    this.driver.replaceStream('server', stream.startTls(start, new Uint8Array(0)));
  }

  private answer(stream: ByteStream): void {
    const { peek } = this;
    if (peek?.hello === undefined) return;
    this.peek = undefined;
    const start = this.host.acceptingTls(peek.hello, this.certificate);
    if (typeof start === 'string') {
      this.refuse('client', start);
      return;
    }
    this.asked = start.certificate;
    this.driver.replaceStream('client', stream.startTls(start, peek.bytes.bytes()));
  }

  secured(side: Side): void {
    const certificate = side === 'client' && this.asked !== 'none';
    this.driver.feed({ type: 'secured', side, certificate });
    // No handler is to come that could forget it.
    if (!this.host.setup.events.has('CLIENTSSL_HANDSHAKE')) this.lastHello = undefined;
  }

  /** The side is ended from here: TLS does not begin any more. */
  giveUp(side: Side): void {
    if (this.drains === side) this.drains = undefined;
    if (side === 'client') this.peek = undefined;
  }

  private refuse(side: Side, error: string): void {
    this.peek = undefined;
    this.driver.feed({ type: 'tlsRefused', side, error });
  }
}
