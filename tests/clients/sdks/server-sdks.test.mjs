// The official server SDKs for Node and Python: the same calls, the same answers, seen by a subscriber.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { PUSHER_CLIENTS, connectPusher, connected, subscribe } from '../lib/clients.mjs';
import { payloads } from '../lib/payloads.mjs';
import { runPython } from '../lib/python.mjs';
import { MASTER_KEY_BASE64, startResound } from '../lib/resound.mjs';
import { Inbox } from '../lib/wait.mjs';

// Both as { trigger, batch, channels, channel, users }, each resolving to the decoded answer or failing.
const SDKS = {
  node: (server) => {
    const sdk = nodeSdk(server);
    const json = async (answer) => (await answer).json();
    return {
      trigger: (channels, event, data, socket_id) => json(sdk.trigger(channels, event, data, { socket_id })),
      batch: (items) => json(sdk.triggerBatch(items)),
      channels: (prefix, info) => json(sdk.get({ path: '/channels', params: { filter_by_prefix: prefix, ...(info && { info }) } })),
      channel: (name, info) => json(sdk.get({ path: `/channels/${name}`, params: { info } })),
      users: (name) => json(sdk.get({ path: `/channels/${name}/users` })),
    };
  },
  python: (server) => {
    const call = async (method, ...args) => {
      const { app, host, port } = server;
      const input = { app, host, port, master_key: MASTER_KEY_BASE64, calls: [{ method, args }] };
      const [{ ok, error, message }] = await runPython('server_sdk.py', input);
      if (error) throw new Error(`${error}: ${message}`);
      return ok;
    };
    return {
      trigger: (channels, event, data, socketId) => call('trigger', channels, event, data, socketId ?? null),
      batch: (items) => call('trigger_batch', items),
      channels: (prefix, info) => call('channels_info', prefix, info ? info.split(',') : []),
      channel: (name, info) => call('channel_info', name, info.split(',')),
      users: (name) => call('users_info', name),
    };
  },
};

for (const [language, make] of Object.entries(SDKS)) {
  describe(`server SDK for ${language}`, () => {
    let server, backend, sdk;
    const open = [];
    /** A subscriber of `names` whose inbox holds what it receives as [channel, event, data]. */
    async function listen(names, user = 'ann') {
      const connection = connectPusher(PUSHER_CLIENTS[0], server, backend, { user });
      open.push(connection);
      await connected(connection.pusher);
      const inbox = new Inbox(`events of ${user}`);
      for (const name of names) {
        const channel = await subscribe(connection.pusher, name);
        channel.bind_global((event, data) => event.startsWith('pusher:') || inbox.push([name, event, data]));
      }
      return { inbox, socketId: connection.pusher.connection.socket_id, pusher: connection.pusher };
    }

    before(async () => {
      server = await startResound();
      backend = await startBackend(server);
      sdk = make(server);
    });
    after(async () => {
      await Promise.all(open.map((connection) => connection.close()));
      await backend?.stop();
      await server?.stop();
    });

    test('trigger: one channel, any payload', async () => {
      const { inbox } = await listen(['orders']);
      for (const data of payloads('orders')) assert.deepEqual(await sdk.trigger('orders', 'e', data), {});
      await inbox.take(4);
      assert.deepEqual(inbox.items, payloads('orders').map((data) => ['orders', 'e', data]));
    });

    test('trigger: several channels at once', async () => {
      const { inbox } = await listen(['many-a', 'private-many-b', 'presence-many-c']);
      await sdk.trigger(['many-a', 'private-many-b', 'presence-many-c', 'many-nobody'], 'e', 'text');
      assert.deepEqual((await inbox.take(3)).map(([name]) => name), ['many-a', 'private-many-b', 'presence-many-c']);
    });

    test('trigger: not to the given socket', async () => {
      const [ann, bob] = [await listen(['private-others'], 'ann'), await listen(['private-others'], 'bob')];
      await sdk.trigger('private-others', 'e', 1, ann.socketId);
      await sdk.trigger('private-others', 'e', 2);
      assert.deepEqual((await bob.inbox.take(2)).map((item) => item[2]), [1, 2]);
      assert.deepEqual((await ann.inbox.take(1)).map((item) => item[2]), [2]);
    });

    test('trigger: encrypted end to end', async () => {
      const { inbox } = await listen(['private-encrypted-vault']);
      await sdk.trigger('private-encrypted-vault', 'e', { secret: 'Žofie' });
      assert.deepEqual(await inbox.take(1), [['private-encrypted-vault', 'e', { secret: 'Žofie' }]]);
    });

    test('batch: each event on its channel, in order', async () => {
      const { inbox } = await listen(['batch-a', 'private-batch-b']);
      const answer = await sdk.batch([
        { channel: 'batch-a', name: 'one', data: { n: 1 } },
        { channel: 'private-batch-b', name: 'two', data: { n: 2 } },
        { channel: 'batch-a', name: 'three', data: 'text' },
      ]);
      assert.deepEqual(answer, {});
      assert.deepEqual((await inbox.take(3)).map(([, event]) => event), ['one', 'two', 'three']);
    });

    test('channels, channel and users tell who is there', async () => {
      const room = 'presence-asked-room';
      const others = [await listen([room], 'ann'), await listen([room], 'bob'), await listen([room], 'bob')];
      assert.equal(others.length, 3);
      assert.deepEqual(await sdk.channels('presence-asked-', 'user_count'), { channels: { [room]: { user_count: 2 } } });
      assert.deepEqual(await sdk.channels('nothing-', undefined), { channels: {} });
      assert.deepEqual(await sdk.channel(room, 'user_count,subscription_count'), {
        occupied: true,
        user_count: 2,
        subscription_count: 3,
      });
      const { users } = await sdk.users(room);
      assert.deepEqual(users.map(({ id }) => id).sort(), ['ann', 'bob']);
      assert.deepEqual(await sdk.users('presence-asked-empty'), { users: [] });
    });

    test('the cached event of a cache channel', async () => {
      assert.deepEqual(await sdk.channel('cache-asked', 'cache'), { occupied: false, cache: null });
      await sdk.trigger('cache-asked', 'e', { p: 1 });
      const { cache } = await sdk.channel('cache-asked', 'cache');
      assert.equal(cache.data.replaceAll(' ', ''), '{"p":1}');
      assert.ok(cache.ttl > 1_700 && cache.ttl <= 1_800);
    });

    test('a refusal comes with its reason', async () => {
      await assert.rejects(sdk.channel('not-presence', 'user_count'), /user count unless the channel is a presence channel|status code 400/);
      await assert.rejects(sdk.trigger('orders', 'pusher:e', {}), /reserved|status code 400/);
      await assert.rejects(sdk.trigger('orders', 'e', 'x'.repeat(10_241)), /10240|413|longer|too (large|much|long)/i);
    });

    test('a wrong secret is refused', async () => {
      const impostor = make(Object.assign(Object.create(server), { app: { ...server.app, secret: 'wrong' } }));
      await assert.rejects(impostor.trigger('orders', 'e', {}), /401|Invalid signature/);
    });
  });
}

test('node: trigger and batch with info answer with counts', async () => {
  const server = await startResound();
  const backend = await startBackend(server);
  const { pusher, close } = connectPusher(PUSHER_CLIENTS[0], server, backend);
  try {
    await subscribe(pusher, 'presence-lobby');
    await subscribe(pusher, 'orders');
    const sdk = nodeSdk(server);
    const answer = await sdk.trigger(['orders', 'presence-lobby'], 'e', {}, { info: 'user_count,subscription_count' });
    assert.deepEqual(await answer.json(), {
      channels: { orders: { subscription_count: 1 }, 'presence-lobby': { user_count: 1, subscription_count: 1 } },
    });
    const batch = await sdk.triggerBatch([
      { channel: 'orders', name: 'e', data: {}, info: 'subscription_count' },
      { channel: 'presence-lobby', name: 'e', data: {} },
    ]);
    assert.deepEqual(await batch.json(), { batch: [{ subscription_count: 1 }, {}] });
  } finally {
    await close();
    await backend.stop();
    await server.stop();
  }
});
