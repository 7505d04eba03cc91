// Webhooks that the server really sent, checked by the server SDKs' own webhook() and validate_webhook().
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { PUSHER_CLIENTS, connectPusher, connected, subscribe } from '../lib/clients.mjs';
import { runPython } from '../lib/python.mjs';
import { APP, startResound } from '../lib/resound.mjs';
import { Inbox } from '../lib/wait.mjs';

const [CLIENT] = PUSHER_CLIENTS;
let receiver;
let server;
let backend;
/** every request the receiver got: headers and body, and the one event in it */
let received;

before(async () => {
  received = new Inbox('webhooks');
  receiver = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    received.push({ rawHeaders: request.rawHeaders, headers: request.headers, body, event: JSON.parse(body).events[0] });
    response.end();
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  server = await startResound({
    config: `
      [webhook]
      removal_delay_ms = 50
      allow_private_targets = true
      [[apps]]
      id = "${APP.id}"
      key = "${APP.key}"
      secret = "${APP.secret}"
      subscription_count = true
      [[apps.webhooks]]
      url = "http://127.0.0.1:${receiver.address().port}/hook"
      headers = { "X-Team" = "blue" }
    `,
  });
  backend = await startBackend(server);
});

after(async () => {
  await backend?.stop();
  await server?.stop();
  receiver?.closeAllConnections();
  receiver?.close();
});

/** The first webhook with this name on this channel. */
function webhook(name, channel) {
  return received.find(({ event }) => event.name === name && event.channel === channel);
}

async function assertValid({ rawHeaders, headers, body }, event) {
  const sent = JSON.parse(body);
  assert.deepEqual(sent.events, [event]);
  assert.ok(Number.isInteger(sent.time_ms) && Math.abs(Date.now() - sent.time_ms) < 60_000);
  // PHP's SDK looks for the names in exactly this case.
  for (const name of ['Content-Type', 'X-Pusher-Key', 'X-Pusher-Signature']) assert.ok(rawHeaders.includes(name), name);
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['x-team'], 'blue');

  const checked = nodeSdk(server).webhook({ headers, rawBody: body });
  assert.ok(checked.isValid());
  assert.deepEqual(checked.getEvents(), [event]);
  const [key, signature] = [headers['x-pusher-key'], headers['x-pusher-signature']];
  assert.deepEqual(await runPython('validate_webhook.py', { app: APP, key, signature, body }), sent);
  assert.ok(!nodeSdk(server).webhook({ headers, rawBody: `${body} ` }).isValid());
}

describe('webhooks, as the Node and Python SDKs validate them', () => {
  test('channels and counts', async () => {
    const { pusher, close } = connectPusher(CLIENT, server, backend);
    await connected(pusher);
    await subscribe(pusher, 'cache-hooks');
    const channel = 'cache-hooks';
    await assertValid(await webhook('channel_occupied', channel), { name: 'channel_occupied', channel });
    await assertValid(await webhook('cache_miss', channel), { name: 'cache_miss', channel });
    await assertValid(await webhook('subscription_count', channel), { name: 'subscription_count', channel, subscription_count: 1 });
    await close();
    await assertValid(await webhook('channel_vacated', channel), { name: 'channel_vacated', channel });
  });

  test('members and client events', async () => {
    const channel = 'presence-hooks';
    const [ann, bob] = [
      connectPusher(CLIENT, server, backend, { user: 'ann' }),
      connectPusher(CLIENT, server, backend, { user: 'bob' }),
    ];
    await Promise.all([connected(ann.pusher), connected(bob.pusher)]);
    const room = await subscribe(ann.pusher, channel);
    await subscribe(bob.pusher, channel);
    for (const user_id of ['ann', 'bob']) {
      const hook = await received.find(({ event }) => event.name === 'member_added' && event.user_id === user_id);
      await assertValid(hook, { name: 'member_added', channel, user_id });
    }
    room.trigger('client-typing', { on: true });
    await assertValid(await webhook('client_event', channel), {
      name: 'client_event',
      channel,
      event: 'client-typing',
      data: '{"on":true}',
      socket_id: ann.pusher.connection.socket_id,
      user_id: 'ann',
    });
    await bob.close();
    await assertValid(await webhook('member_removed', channel), { name: 'member_removed', channel, user_id: 'bob' });
    await ann.close();
  });
});
