import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import { Recorder } from './recorder.ts';
import { connectTls, serverTls } from './tls-peer.ts';

const MiB = 1024 * 1024;
/** More than both kernels' buffers on loopback hold together. */
const MUCH = pattern(16 * MiB);

/** What the system may call the end of a connection that the peer has reset. */
const RESET = /^(ECONNRESET|EPIPE)$/;

function expectDeaf(stream: ByteStream, owner: Recorder): void {
  const heard = [...owner.heard];
  stream.read(true);
  stream.read(false);
  expect(stream.write(Buffer.from('x'))).toBe(true);
  expect(stream.pendingBytes).toBe(0);
  expect(stream.addresses()).toBeUndefined();
  stream.end(false);
  stream.reset();
  stream.destroy();
  stream.startTls(serverTls(), Buffer.alloc(0));
  expect(owner.heard).toEqual(heard);
}

describeBoth((lab) => {
  describe('reset', () => {
    it('is a reset to the peer', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.reset();
      expect(owner.heard).toEqual(['close']);
      await peer.untilClosed();
      expect(peer.error).toBe('ECONNRESET');
      expectDeaf(stream, owner);
    });

    it('loses what is pending', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      stream.write(MUCH);
      stream.reset();
      peer.socket.resume();
      // libuv shows a reset as an end where unread data is in front of it.
      await peer.until(() => peer.ended || peer.closed, 'some end');
      expect(peer.received.length).toBeLessThan(MUCH.length);
      expect(owner.heard).toEqual(['close']);
      expectDeaf(stream, owner);
    });

    it.each(['at once', 'later'])('behind an end ends the connection, %s', async (when) => {
      const { stream, owner, peer } = await lab().accept();
      stream.end(false);
      if (when === 'later') await peer.untilEnded();
      stream.reset();
      expect(owner.heard).toEqual(['close']);
      // What arrives now is refused.
      peer.socket.write('x');
      await peer.until(() => peer.ended || peer.closed, 'some end');
      peer.socket.on('error', () => {});
      while (!peer.closed) {
        peer.socket.write('x');
        await lab().settle();
      }
      expect(peer.error).toMatch(RESET);
    });
  });

  describe('destroy', () => {
    it('is FIN to the peer', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.destroy();
      expect(owner.heard).toEqual(['close']);
      expect(owner.error).toBeUndefined();
      await peer.untilEnded();
      expect(peer.error).toBeUndefined();
      expectDeaf(stream, owner);
    });

    it('loses what is pending', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      stream.write(MUCH);
      stream.end(false);
      stream.destroy();
      peer.socket.resume();
      await peer.until(() => peer.ended || peer.closed, 'some end');
      expect(peer.received.length).toBeLessThan(MUCH.length);
      expect(owner.heard).toEqual(['close']);
      expectDeaf(stream, owner);
    });

    it('loses what has not been read', async () => {
      const owner = new Recorder({ onData: (stream) => stream.read(false) });
      const { stream, peer } = await lab().accept(owner);
      stream.read(true);
      peer.socket.write(MUCH);
      await owner.untilReceived(1);
      stream.destroy();
      expect(owner.heard).toEqual(['data', 'close']);
      await peer.until(() => peer.ended || peer.closed, 'some end');
      expectDeaf(stream, owner);
    });
  });

  describe('a reset by the peer', () => {
    it('is told to who reads', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(owner.heard).toEqual(['close']);
      expect(owner.error).toBe('ECONNRESET');
      expectDeaf(stream, owner);
    });

    it('is told to who begins to read', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.resetAndDestroy();
      await lab().settle();
      stream.read(true);
      await owner.untilClosed();
      expect(owner.error).toBe('ECONNRESET');
    });

    it('is told to who writes', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.resetAndDestroy();
      await lab().settle();
      stream.write(Buffer.from('x'));
      stream.write(Buffer.from('y'));
      await owner.untilClosed();
      expect(owner.heard.filter((what) => what === 'close')).toHaveLength(1);
      expect(owner.error).toMatch(RESET);
      expectDeaf(stream, owner);
    });

    it('is told to who waits for a slow peer', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      expect(stream.write(MUCH)).toBe(false);
      stream.write(Buffer.from('queued'));
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(owner.error).toMatch(RESET);
      expect(owner.drains).toBe(0);
      expectDeaf(stream, owner);
    });

    it('is told to who ended already', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      stream.end(false);
      await peer.untilEnded();
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(owner.error).toBe('ECONNRESET');
    });

    it('in the middle of a transfer keeps what came before it', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      const sent = pattern(MiB);
      peer.socket.write(sent);
      await owner.untilReceived(sent.length);
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
      expect(owner.error).toBe('ECONNRESET');
    });
  });

  describe('a call from', () => {
    const actions = {
      destroy: (stream: ByteStream) => stream.destroy(),
      reset: (stream: ByteStream) => stream.reset(),
      'end and destroy': (stream: ByteStream) => {
        stream.end(false);
        stream.destroy();
      },
      'write, end and reset': (stream: ByteStream) => {
        stream.write(MUCH);
        stream.end(false);
        stream.reset();
      },
    };
    const moments = {
      onConnect: (owner: Recorder, l: Lab) => l.connect(owner).then(() => {}),
      onData: async (owner: Recorder, l: Lab) => {
        const { stream, peer } = await l.accept(owner);
        stream.read(true);
        peer.socket.end(pattern(MiB));
      },
      onEnd: async (owner: Recorder, l: Lab) => {
        const { stream, peer } = await l.accept(owner);
        stream.read(true);
        peer.socket.end();
      },
      'onEnd of a side that has ended': async (owner: Recorder, l: Lab) => {
        const { stream, peer } = await l.accept(owner);
        stream.read(true);
        stream.end(false);
        await peer.untilEnded();
        peer.socket.end();
      },
      onDrain: async (owner: Recorder, l: Lab) => {
        const { stream, peer } = await l.accept(owner);
        stream.read(true);
        stream.write(MUCH);
        peer.socket.write('x');
      },
      'onDrain of a side that ends': async (owner: Recorder, l: Lab) => {
        const { stream } = await l.accept(owner);
        stream.write(MUCH);
        stream.end(false);
      },
      onSecure: async (owner: Recorder, l: Lab) => {
        const { stream, peer } = await l.accept(owner);
        stream.startTls(serverTls(), Buffer.alloc(0));
        connectTls(peer);
      },
    };

    describe.each(Object.entries(moments))('%s', (moment, arrange) => {
      const [callback = ''] = moment.split(' ');

      it.each(Object.entries(actions))('may %s', async (_what, act) => {
        const owner = new Recorder({ [callback]: act });
        await arrange(owner, lab());
        await owner.untilClosed();
        expect(owner.error).toBeUndefined();
        expect(owner.heard.filter((what) => what === 'close')).toHaveLength(1);
        await lab().settle();
      });

      it('may ask to read, and not to', async () => {
        const owner = new Recorder({
          [callback]: (stream: ByteStream) => {
            stream.read(true);
            stream.read(false);
            stream.read(true);
          },
          onClose: (stream) => expectDeaf(stream, owner),
        });
        await arrange(owner, lab());
        await lab().settle();
        lab().cleanUp();
      });
    });

    it('onData may answer each piece and end behind the last one', async () => {
      const sent = pattern(MiB);
      const owner = new Recorder();
      let count = 0;
      owner.take = (bytes, stream) => {
        stream.write(Buffer.from(bytes));
        count += bytes.length;
        if (count === sent.length) stream.end(false);
      };
      const { stream, peer } = await lab().accept(owner);
      stream.read(true);
      peer.socket.write(sent);
      await peer.untilEnded();
      expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
    });

    it('onDrain may write again and again', async () => {
      const piece = pattern(4 * MiB);
      let left = 5;
      const owner = new Recorder({
        onDrain: (stream) => {
          while (left-- > 0) if (!stream.write(piece)) return;
          stream.end(false);
        },
      });
      const { stream, peer } = await lab().accept(owner);
      expect(stream.write(piece)).toBe(false);
      await peer.untilEnded();
      expect(peer.received.length).toBe(6 * piece.length);
    });
  });
});
