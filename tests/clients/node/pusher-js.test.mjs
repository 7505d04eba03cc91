// pusher-js in Node, current and previous major version, against the real server.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { PUSHER_CLIENTS, connectPusher, subscribe } from '../lib/clients.mjs';
import { channelKinds, isCacheKind, payloads } from '../lib/payloads.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, until } from '../lib/wait.mjs';

for (const client of PUSHER_CLIENTS) {
  describe(client.name, () => {
    let server, backend, sdk;
    const open = [];
    const connect = (options) => {
      const connection = connectPusher(client, server, backend, options);
      open.push(connection);
      return connection.pusher;
    };

    before(async () => {
      server = await startResound();
      backend = await startBackend(server);
      sdk = nodeSdk(server);
    });
    after(async () => {
      await Promise.all(open.map((connection) => connection.close()));
      await backend?.stop();
      await server?.stop();
    });

    for (const name of channelKinds(`room.${client.slug}`)) {
      test(`${name}: subscribes and receives events exactly as published`, async () => {
        const channel = await subscribe(connect(), name);
        const inbox = new Inbox(name);
        channel.bind('order.shipped', inbox.push);
        const expected = payloads(name);
        for (const data of expected) await sdk.trigger(name, 'order.shipped', data);
        assert.deepEqual(await inbox.take(expected.length), expected);
      });
    }

    for (const name of channelKinds(`cached.${client.slug}`).filter(isCacheKind)) {
      test(`${name}: a miss first, then the cached event, once`, async () => {
        const first = connect();
        const misses = new Inbox('misses');
        first.subscribe(name).bind('pusher:cache_miss', misses.push);
        await misses.take(1);
        await sdk.trigger(name, 'price', { p: 1 });
        await sdk.trigger(name, 'price', { p: 2 });

        const second = connect({ user: 'bob' });
        const prices = new Inbox('prices');
        const secondMisses = new Inbox('misses of the second');
        const channel = second.subscribe(name);
        channel.bind('price', prices.push);
        channel.bind('pusher:cache_miss', secondMisses.push);
        await prices.take(1);
        await sdk.trigger(name, 'price', { p: 3 });
        assert.deepEqual(await prices.take(2), [{ p: 2 }, { p: 3 }]);
        assert.deepEqual(secondMisses.items, []);
      });
    }

    for (const kind of ['private', 'presence']) {
      test(`${kind}: client events reach the others and not the sender`, async () => {
        const name = `${kind}-whisper.${client.slug}`;
        const [ann, bob] = [connect({ user: 'ann' }), connect({ user: 'bob' })];
        const [annChannel, bobChannel] = [await subscribe(ann, name), await subscribe(bob, name)];
        const [heardByAnn, heardByBob] = [new Inbox('ann'), new Inbox('bob')];
        annChannel.bind('client-typing', heardByAnn.push);
        bobChannel.bind('client-typing', (data, metadata) => heardByBob.push({ data, by: metadata?.user_id }));
        annChannel.trigger('client-typing', { on: true, name: 'Žofie' });
        const by = kind === 'presence' ? 'ann' : undefined;
        assert.deepEqual(await heardByBob.take(1), [{ data: { on: true, name: 'Žofie' }, by }]);

        // Bob's own event comes after Ann's on Ann's connection: had hers come back, it would be there by then.
        bobChannel.trigger('client-typing', { on: false });
        assert.deepEqual(await heardByAnn.take(1), [{ on: false }]);
      });
    }

    test('presence: a user with two connections is one member, and joins and leaves once', async () => {
      const name = `presence-twice.${client.slug}`;
      const ann = connect({ user: 'ann' });
      const channel = await subscribe(ann, name);
      const changes = new Inbox('changes');
      channel.bind('pusher:member_added', (member) => changes.push(['added', member.id, member.info.name]));
      channel.bind('pusher:member_removed', (member) => changes.push(['removed', member.id]));

      const [bobOne, bobTwo] = [connect({ user: 'bob' }), connect({ user: 'bob' })];
      await subscribe(bobOne, name);
      const second = await subscribe(bobTwo, name);
      assert.equal(second.members.count, 2);
      assert.equal(second.members.me.id, 'bob');
      assert.deepEqual(Object.keys(second.members.members).sort(), ['ann', 'bob']);

      bobOne.disconnect();
      bobTwo.disconnect();
      // Cid's arrival is the mark: whatever Bob's second connection caused has arrived before.
      await changes.find((change) => change[0] === 'removed');
      await subscribe(connect({ user: 'cid' }), name);
      await changes.find((change) => change[1] === 'cid');
      assert.deepEqual(changes.items, [
        ['added', 'bob', 'Name of bob'],
        ['removed', 'bob'],
        ['added', 'cid', 'Name of cid'],
      ]);
      assert.equal(channel.members.count, 2);
    });

    test('a socket id keeps an event from its own connection', async () => {
      const name = `private-to-others.${client.slug}`;
      const [ann, bob] = [connect({ user: 'ann' }), connect({ user: 'bob' })];
      const [seenByAnn, seenByBob] = [new Inbox('ann'), new Inbox('bob')];
      (await subscribe(ann, name)).bind('e', seenByAnn.push);
      (await subscribe(bob, name)).bind('e', seenByBob.push);
      await sdk.trigger(name, 'e', { n: 1 }, { socket_id: ann.connection.socket_id });
      await sdk.trigger(name, 'e', { n: 2 });
      assert.deepEqual(await seenByBob.take(2), [{ n: 1 }, { n: 2 }]);
      assert.deepEqual(await seenByAnn.take(1), [{ n: 2 }]);
    });

    test('after unsubscribing nothing more arrives, and subscribing again works', async () => {
      const pusher = connect();
      const [left, stayed] = [`left.${client.slug}`, `stayed.${client.slug}`];
      const seen = new Inbox('all events');
      await subscribe(pusher, left);
      await subscribe(pusher, stayed);
      pusher.bind_global((event, data) => event.startsWith('pusher') || seen.push(data));
      pusher.unsubscribe(left);
      await until(async () => !(await channels(sdk)).includes(left), `${left} is empty`);
      await sdk.trigger([left, stayed], 'e', { n: 1 });
      await seen.take(1);
      await subscribe(pusher, left);
      await sdk.trigger(left, 'e', { n: 2 });
      assert.deepEqual(await seen.take(2), [{ n: 1 }, { n: 2 }]);
    });

    test('a refused or forged auth ends in subscription_error and leaves the connection open', async () => {
      const pusher = connect();
      for (const name of [`private-forbidden.${client.slug}`, `private-forged.${client.slug}`, `presence-forged.${client.slug}`]) {
        const errors = new Inbox(`errors of ${name}`);
        pusher.subscribe(name).bind('pusher:subscription_error', errors.push);
        const [error] = await errors.take(1);
        assert.equal(error.type, 'AuthError');
        assert.equal(error.status, name.includes('forged') ? 401 : 403);
      }
      await subscribe(pusher, `still-here.${client.slug}`);
      assert.equal(pusher.connection.state, 'connected');
    });

    test('an unknown key is refused for good with 4001', async () => {
      const pusher = connect({ key: 'nobody' });
      const errors = new Inbox('errors');
      pusher.connection.bind('error', (error) => errors.push(error.data?.code ?? error.error?.data?.code));
      assert.equal(await errors.find((code) => code !== undefined), 4001);
      await until(() => ['disconnected', 'failed'].includes(pusher.connection.state), 'it gives up');
    });
  });
}

async function channels(sdk) {
  const response = await sdk.get({ path: '/channels' });
  return Object.keys((await response.json()).channels);
}
