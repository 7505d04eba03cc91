// The WebSocket layer with two independent clients: `ws` for Node and `websockets` for Python.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { runPython } from '../lib/python.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, within } from '../lib/wait.mjs';

const PING = JSON.stringify({ event: 'pusher:ping', data: {} });
const PONG = { event: 'pusher:pong', data: '{}' };

describe('ws', () => {
  let server;
  const open = [];
  async function connect(protocols) {
    const socket = new WebSocket(server.socketUrl, protocols);
    open.push(socket);
    socket.messages = new Inbox('messages');
    socket.on('message', (data, isBinary) => socket.messages.push(isBinary ? 'binary' : JSON.parse(data)));
    const [first] = await socket.messages.take(1);
    assert.equal(first.event, 'pusher:connection_established');
    return socket;
  }
  async function closing(socket) {
    const [code, reason] = await within(once(socket, 'close'), 'the connection is closed');
    return [code, String(reason)];
  }

  before(async () => {
    server = await startResound();
  });
  after(async () => {
    for (const socket of open) socket.terminate();
    await server?.stop();
  });

  test('a message in fragments is one message', async () => {
    const socket = await connect();
    const bytes = Buffer.from(JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'a', auth: 'Ž🚀' } }));
    bytes.forEach((byte, i) => socket.send(bytes.subarray(i, i + 1), { binary: false, fin: i === bytes.length - 1 }));
    assert.equal((await socket.messages.take(2))[1].event, 'pusher_internal:subscription_succeeded');
  });

  test('a ping between fragments is answered at once with its payload', async () => {
    const socket = await connect();
    const pongs = new Inbox('pongs');
    socket.on('pong', (data) => pongs.push(String(data)));
    socket.send(PING.slice(0, 5), { fin: false });
    socket.ping('in between');
    assert.deepEqual(await pongs.take(1), ['in between']);
    socket.send(PING.slice(5), { fin: true });
    assert.deepEqual((await socket.messages.take(2))[1], PONG);
  });

  test('pings of every size come back', async () => {
    const socket = await connect();
    const pongs = new Inbox('pongs');
    socket.on('pong', (data) => pongs.push(data.length));
    for (let size = 0; size <= 125; size++) socket.ping(Buffer.alloc(size, size));
    assert.deepEqual(await pongs.take(126), Array.from({ length: 126 }, (_, size) => size));
  });

  test('compression is offered and not taken', async () => {
    const socket = await connect();
    assert.equal(socket.extensions, '');
  });

  test('an offered sub-protocol is taken', async () => {
    const socket = await connect('pusher-channels-protocol-7');
    assert.equal(socket.protocol, 'pusher-channels-protocol-7');
  });

  test('a binary message holding JSON is understood', async () => {
    const socket = await connect();
    socket.send(Buffer.from(PING));
    assert.deepEqual((await socket.messages.take(2))[1], PONG);
  });

  test('the largest message passes and one byte more is refused with 1009', async () => {
    const message = (size) => `{"event":"pusher:ping","data":"${'x'.repeat(size - 33)}"}`;
    assert.equal(message(65_536).length, 65_536);
    const socket = await connect();
    socket.send(message(65_536));
    assert.deepEqual((await socket.messages.take(2))[1], PONG);
    socket.send(message(65_537));
    assert.deepEqual(await closing(socket), [1009, 'Maximum message size exceeded']);
  });

  test('text that is not UTF-8 is refused with 1007', async () => {
    const socket = await connect();
    socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
    assert.equal((await closing(socket))[0], 1007);
  });

  test('a close from the client is answered with its code', async () => {
    for (const code of [1000, 3000, 4321]) {
      const socket = await connect();
      socket.close(code, 'bye');
      assert.equal((await closing(socket))[0], code);
    }
  });

  test('a stopping server closes with 4200', async () => {
    const own = await startResound();
    const socket = new WebSocket(own.socketUrl);
    await within(once(socket, 'message'), 'established');
    const closed = closing(socket);
    await own.stop();
    assert.equal((await closed)[0], 4200);
  });
});

test('websockets for Python: fragments, pings, limits, closing', async () => {
  const server = await startResound();
  try {
    const { big, big_in_fragments, close } = await runPython('websocket_interop.py', { url: server.socketUrl });
    assert.deepEqual([big, big_in_fragments], [1009, 1009]);
    assert.deepEqual(close.map(([code]) => code), [1000, 1001, 4321]);
  } finally {
    await server.stop();
  }
});
