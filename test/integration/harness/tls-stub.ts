import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { OutputLog } from './output-log.ts';

/** What a stub says; texts have one character a byte. */
export interface StubScript {
  /** As soon as somebody connects. */
  readonly greeting: string;
  /** What it answers to what begins like this; the first that fits counts. */
  readonly answers: readonly (readonly [RegExp, string])[];
}

/**
 * A plaintext server that follows a script and keeps every byte that reaches it. It can be made to
 * hold back what it has to say.
 */
export class Stub {
  private readonly server = createServer({ noDelay: true }, (socket) => this.accept(socket));
  private readonly open = new Set<Socket>();
  private heard = new OutputLog();
  private accepted = 0;
  private holds = false;
  private held: (() => void)[] = [];
  private changed: (() => void) | undefined;

  private constructor(private readonly script: StubScript) {}

  static async start(script: StubScript): Promise<Stub> {
    const stub = new Stub(script);
    stub.server.listen(0, '127.0.0.1');
    await once(stub.server, 'listening');
    return stub;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** All bytes that arrived since {@link forget}. */
  get received(): string {
    return this.heard.text;
  }

  /** Connections accepted since {@link forget}. */
  get connections(): number {
    return this.accepted;
  }

  forget(): void {
    this.heard = new OutputLog();
    this.accepted = 0;
    this.letGo();
  }

  /** Waits until it has heard this. */
  hears(text: string): Promise<string> {
    return this.heard.waitFor(text);
  }

  /** Waits for a connection. */
  async connected(): Promise<void> {
    while (this.accepted === 0) await this.change();
  }

  /** Waits until no connection is open. */
  async idle(): Promise<void> {
    while (this.open.size > 0) await this.change();
  }

  /** Says nothing from now on, until {@link letGo}. */
  hold(): void {
    this.holds = true;
  }

  letGo(): void {
    this.holds = false;
    for (const say of this.held.splice(0)) say();
  }

  /** Says something on its only connection, unasked; waits until the system has it. */
  async say(text: string): Promise<void> {
    const [socket] = this.open;
    if (socket === undefined) throw new Error('nobody is connected to the stub');
    await new Promise<void>((resolve) => {
      socket.write(text, 'latin1', () => resolve());
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(socket: Socket): void {
    const heard = this.heard;
    let unanswered = '';
    const say = (text: string): void => {
      const write = (): void => void socket.write(text, 'latin1');
      if (this.holds) this.held.push(write);
      else write();
    };
    this.open.add(socket);
    this.accepted += 1;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.open.delete(socket);
      this.wake();
    });
    socket.on('data', (chunk: Buffer) => {
      heard.append(chunk);
      unanswered += chunk.toString('latin1');
      for (let next = this.answer(unanswered); next !== undefined; ) {
        unanswered = unanswered.slice(next.length);
        say(next.text);
        next = this.answer(unanswered);
      }
    });
    if (this.script.greeting !== '') say(this.script.greeting);
    this.wake();
  }

  private answer(unanswered: string): { length: number; text: string } | undefined {
    for (const [pattern, text] of this.script.answers) {
      const found = pattern.exec(unanswered);
      if (found?.index === 0 && found[0] !== '') return { length: found[0].length, text };
    }
    return undefined;
  }

  private change(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.changed;
      this.changed = () => {
        before?.();
        resolve();
      };
    });
  }

  private wake(): void {
    const { changed } = this;
    this.changed = undefined;
    changed?.();
  }
}
