// Laravel Echo in Node, versions 2 and 1, broadcasters reverb and pusher, as a Laravel page uses it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { ECHO_CLIENTS, connectEcho, subscribed } from '../lib/clients.mjs';
import { payloads } from '../lib/payloads.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, until } from '../lib/wait.mjs';

// How Echo is asked for a channel, and the name it has on the wire.
const CHANNELS = [
  { wire: 'orders', join: (echo, name) => echo.channel(name) },
  { wire: 'private-orders', join: (echo, name) => echo.private(name.replace('private-', '')) },
  { wire: 'private-encrypted-orders', join: (echo, name) => echo.encryptedPrivate(name.replace('private-encrypted-', '')) },
  { wire: 'presence-orders', join: (echo, name) => echo.join(name.replace('presence-', '')) },
  { wire: 'cache-orders', join: (echo, name) => echo.channel(name) },
  { wire: 'private-cache-orders', join: (echo, name) => echo.private(name.replace('private-', '')) },
  { wire: 'presence-cache-orders', join: (echo, name) => echo.join(name.replace('presence-', '')) },
  { wire: 'private-encrypted-cache-orders', join: (echo, name) => echo.encryptedPrivate(name.replace('private-encrypted-', '')) },
];

for (const client of ECHO_CLIENTS) {
  describe(client.name, () => {
    let server, backend, sdk;
    const open = [];
    const connect = (options) => {
      const connection = connectEcho(client, server, backend, options);
      open.push(connection);
      return connection.echo;
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

    for (const { wire, join } of CHANNELS) {
      test(`${wire}: listens to a class and to a plain name`, async () => {
        const classEvents = new Inbox('class events');
        const plainEvents = new Inbox('plain events');
        const confirmed = new Inbox('subscribed');
        join(connect(), wire)
          .subscribed(() => confirmed.push(true))
          .listen('OrderShipped', classEvents.push)
          .listen('.order.shipped', plainEvents.push);
        await confirmed.take(1);
        const expected = payloads(wire);
        for (const data of expected) {
          await sdk.trigger(wire, 'App\\Events\\OrderShipped', data);
          await sdk.trigger(wire, 'order.shipped', data);
        }
        assert.deepEqual(await classEvents.take(expected.length), expected);
        assert.deepEqual(await plainEvents.take(expected.length), expected);
      });
    }

    test('here, joining and leaving count a user once', async () => {
      const [here, joining, leaving] = [new Inbox('here'), new Inbox('joining'), new Inbox('leaving')];
      connect({ user: 'ann' }).join('lobby').here(here.push).joining(joining.push).leaving(leaving.push);
      assert.deepEqual(await here.take(1), [[{ id: 'ann', name: 'Name of ann' }]]);

      const [bobOne, bobTwo] = [connect({ user: 'bob' }), connect({ user: 'bob' })];
      const [hereOne, hereTwo] = [new Inbox('here of the first tab'), new Inbox('here of the second tab')];
      bobOne.join('lobby').here(hereOne.push);
      await hereOne.take(1);
      bobTwo.join('lobby').here(hereTwo.push);
      const [list] = await hereTwo.take(1);
      assert.deepEqual(list.map(({ id }) => id).sort(), ['ann', 'bob']);

      bobOne.leave('lobby');
      bobTwo.leave('lobby');
      await leaving.take(1);
      connect({ user: 'cid' }).join('lobby');
      await joining.find(({ id }) => id === 'cid');
      assert.deepEqual(joining.items.map(({ id }) => id), ['bob', 'cid']);
      assert.deepEqual(leaving.items, [{ id: 'bob', name: 'Name of bob' }]);
    });

    for (const kind of ['private', 'join']) {
      test(`${kind}: whispers reach the others only`, async () => {
        const name = `typing-${kind}`;
        const [ann, bob] = [connect({ user: 'ann' }), connect({ user: 'bob' })];
        const channels = [ann[kind](name), bob[kind](name)];
        await Promise.all(channels.map(({ subscription }) => subscribed(subscription)));
        const [heardByAnn, heardByBob] = [new Inbox('ann'), new Inbox('bob')];
        channels[0].listenForWhisper('typing', heardByAnn.push);
        channels[1].listenForWhisper('typing', heardByBob.push);
        channels[0].whisper('typing', { name: 'ann' });
        assert.deepEqual(await heardByBob.take(1), [{ name: 'ann' }]);
        channels[1].whisper('typing', { name: 'bob' });
        assert.deepEqual(await heardByAnn.take(1), [{ name: 'bob' }]);
      });
    }

    test('toOthers: an event with the socket id of Echo does not come back to it', async () => {
      const [ann, bob] = [connect({ user: 'ann' }), connect({ user: 'bob' })];
      const [seenByAnn, seenByBob] = [new Inbox('ann'), new Inbox('bob')];
      const channels = [ann.private('others').listen('.e', seenByAnn.push), bob.private('others').listen('.e', seenByBob.push)];
      await Promise.all(channels.map(({ subscription }) => subscribed(subscription)));
      await sdk.trigger('private-others', 'e', { n: 1 }, { socket_id: ann.socketId() });
      await sdk.trigger('private-others', 'e', { n: 2 });
      assert.deepEqual(await seenByBob.take(2), [{ n: 1 }, { n: 2 }]);
      assert.deepEqual(await seenByAnn.take(1), [{ n: 2 }]);
    });

    test('error() hears of a refused and of a forged auth', async () => {
      const echo = connect();
      for (const [name, status] of [['forbidden', 403], ['forged', 401]]) {
        const errors = new Inbox(name);
        echo.private(name).error(errors.push);
        const [error] = await errors.take(1);
        assert.equal(error.type, 'AuthError');
        assert.equal(error.status, status);
      }
    });

    test('a notification arrives', async () => {
      const notifications = new Inbox('notifications');
      const channel = connect().private('App.Models.User.1').notification(notifications.push);
      await subscribed(channel.subscription);
      const notification = { id: 'c0ffee', type: 'App\\Notifications\\Paid' };
      await sdk.trigger(
        'private-App.Models.User.1',
        'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated',
        notification,
      );
      assert.deepEqual(await notifications.take(1), [notification]);
    });

    test('leave() ends every form of a channel', async () => {
      const echo = connect();
      const channels = [echo.channel('gone'), echo.private('gone'), echo.join('gone')];
      await Promise.all(channels.map(({ subscription }) => subscribed(subscription)));
      echo.leave('gone');
      await until(async () => {
        const response = await sdk.get({ path: '/channels' });
        const { channels: occupied } = await response.json();
        return !['gone', 'private-gone', 'presence-gone'].some((name) => name in occupied);
      }, 'the channels are empty');
    });
  });
}
