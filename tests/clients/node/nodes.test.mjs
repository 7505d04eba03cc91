// Two nodes on one Redis: clients on one, clients and backends on the other, and nobody notices.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { ECHO_CLIENTS, PUSHER_CLIENTS, connectEcho, connectPusher, connected, subscribe } from '../lib/clients.mjs';
import { channelKinds } from '../lib/payloads.mjs';
import { phpRequest, phpRequestOn, sendPhp } from '../lib/php.mjs';
import { startRedis } from '../lib/redis.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, until } from '../lib/wait.mjs';

describe('two nodes', () => {
  let redis, first, second, backend;
  const open = [];
  const keep = (connection) => {
    open.push(connection);
    return connection;
  };
  const pusherOn = async (server, options) => {
    const { pusher } = keep(connectPusher(PUSHER_CLIENTS[0], server, backend, options));
    await connected(pusher);
    return pusher;
  };

  before(async () => {
    redis = await startRedis();
    // the app that the recorded requests of PHP are for
    const { app } = phpRequest('l12-private');
    const config = `[cluster]\nenabled = true\nurl = "${redis.url}"\n[app_defaults]\nwatchlist = true\nwatchlist_grace_ms = 200\n`;
    first = await startResound({ app, config });
    second = await startResound({ app, config });
    backend = await startBackend(first);
    for (const node of [first, second]) {
      await until(
        async () => {
          const ready = await fetch(`${node.url}/ready`);
          return ready.ok && !/degraded/i.test(await ready.text());
        },
        () => `the node has Redis; it said:\n${node.log}`,
      );
    }
  });
  after(async () => {
    await Promise.all(open.map((connection) => connection.close()));
    await backend?.stop();
    await Promise.all([first?.stop(), second?.stop()]);
    await redis?.stop();
  });

  for (const [slug, name, send] of [
    ['node', 'pusher for Node', (node, channel, data) => nodeSdk(node).trigger(channel, 'e', data)],
    ['php', 'pusher-http-php, recorded', (node, channel, data) => sendPhp(node, phpRequestOn(channel, 'e', data))],
  ]) {
    test(`${name}: events sent to one node are heard on the other, on channels of every kind`, async () => {
      const pusher = await pusherOn(first);
      const names = channelKinds(slug);
      const seen = new Inbox('events');
      for (const name of names) (await subscribe(pusher, name)).bind('e', (data) => seen.push(data));
      for (const name of names) {
        await send(second, name, { name, umlaut: 'ü/"' });
        await send(first, name, { name, umlaut: 'near' });
        await seen.find((data) => data.name === name && data.umlaut === 'near');
      }
      assert.deepEqual(
        await seen.take(2 * names.length),
        names.flatMap((name) => ['ü/"', 'near'].map((umlaut) => ({ name, umlaut }))),
      );
    });
  }

  for (const client of ECHO_CLIENTS) {
    test(`${client.name}: here, joining and leaving across nodes`, async () => {
      const lobby = `lobby-${client.slug}`;
      const join = (server, user) => {
        const connection = keep(connectEcho(client, server, backend, { user }));
        const inboxes = { here: new Inbox('here'), joining: new Inbox('joining'), leaving: new Inbox('leaving') };
        const channel = connection.echo.join(lobby);
        channel.here(inboxes.here.push).joining(inboxes.joining.push).leaving(inboxes.leaving.push);
        return { ...connection, ...inboxes };
      };
      const ids = (list) => list.map(({ id }) => id).sort();

      const ann = join(first, 'ann');
      assert.deepEqual(await ann.here.take(1), [[{ id: 'ann', name: 'Name of ann' }]]);
      const bob = join(second, 'bob');
      assert.deepEqual(ids((await bob.here.take(1))[0]), ['ann', 'bob']);
      const tab = join(first, 'bob');
      assert.deepEqual(ids((await tab.here.take(1))[0]), ['ann', 'bob']);
      await bob.close();
      const cid = join(second, 'cid');
      assert.deepEqual(ids((await cid.here.take(1))[0]), ['ann', 'bob', 'cid']);
      tab.echo.leave(lobby);
      await ann.leaving.take(1);
      await cid.leaving.take(1);
      await cid.close();
      await ann.leaving.take(2);
      assert.deepEqual(ann.joining.items.map(({ id }) => id), ['bob', 'cid']);
      assert.deepEqual(ann.leaving.items.map(({ id }) => id), ['bob', 'cid']);
    });

    test(`${client.name}: whispers and toOthers across nodes`, async () => {
      const name = `room-${client.slug}`;
      const [ann, bob] = [first, second].map((server, n) => keep(connectEcho(client, server, backend, { user: ['ann', 'bob'][n] })));
      const inboxes = [ann, bob].map(({ echo }, n) => {
        const inbox = new Inbox(`events of ${n}`);
        const subscribed = new Inbox('subscribed');
        const channel = echo.private(name).subscribed(() => subscribed.push(true));
        channel.listenForWhisper('typing', inbox.push).listen('.e', inbox.push);
        return { inbox, subscribed };
      });
      for (const { subscribed } of inboxes) await subscribed.take(1);
      ann.echo.private(name).whisper('typing', { who: 'ann' });
      await inboxes[1].inbox.take(1);
      // as broadcast()->toOthers() does, to the node where ann isn't
      await nodeSdk(second).trigger(`private-${name}`, 'e', { n: 1 }, { socket_id: ann.echo.socketId() });
      await nodeSdk(second).trigger(`private-${name}`, 'e', { n: 2 });
      assert.deepEqual(await inboxes[0].inbox.take(1), [{ n: 2 }]);
      assert.deepEqual(await inboxes[1].inbox.take(3), [{ who: 'ann' }, { n: 1 }, { n: 2 }]);
    });
  }

  test('signed-in users, their watchers and their end', async () => {
    const signIn = async (server, user, watchlist) => {
      const headers = { 'X-User': user, ...(watchlist && { 'X-Watchlist': watchlist }) };
      const userAuthentication = { endpoint: `${backend.url}/broadcasting/user-auth`, headers, transport: 'ajax' };
      const { pusher } = keep(connectPusher(PUSHER_CLIENTS[0], server, backend, { user, userAuthentication }));
      const inboxes = { online: new Inbox('online'), offline: new Inbox('offline'), news: new Inbox('news') };
      pusher.user.watchlist.bind('online', inboxes.online.push);
      pusher.user.watchlist.bind('offline', inboxes.offline.push);
      pusher.user.bind('news', inboxes.news.push);
      await connected(pusher);
      pusher.signin();
      await until(() => pusher.user.user_data?.id === user, `${user} is signed in`);
      return { pusher, ...inboxes };
    };
    const ann = await signIn(first, 'ann', 'bob');
    await ann.offline.take(1);
    const bob = await signIn(second, 'bob');
    assert.deepEqual((await ann.online.take(1))[0].user_ids, ['bob']);
    await nodeSdk(first).sendToUser('bob', 'news', { n: 1 });
    assert.deepEqual(await bob.news.take(1), [{ n: 1 }]);
    await nodeSdk(first).terminateUserConnections('bob');
    assert.deepEqual((await ann.offline.take(2))[1].user_ids, ['bob']);
  });

  test('both nodes answer the SDK for both', async () => {
    const pushers = [await pusherOn(first, { user: 'ann' }), await pusherOn(second, { user: 'bob' })];
    for (const pusher of pushers) await subscribe(pusher, 'presence-count');
    for (const node of [first, second]) {
      const get = async (path, params) => (await nodeSdk(node).get({ path, params })).json();
      const { users } = await get('/channels/presence-count/users');
      assert.deepEqual(users.map(({ id }) => id).sort(), ['ann', 'bob']);
      assert.deepEqual(await get('/channels/presence-count', { info: 'user_count,subscription_count' }), {
        occupied: true,
        user_count: 2,
        subscription_count: 2,
      });
    }
  });
});
