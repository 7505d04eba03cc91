// Users as pusher-js and the server SDKs know them: signin(), events to a user, watchlists, termination.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { PUSHER_CLIENTS, connectPusher, connected } from '../lib/clients.mjs';
import { runPython } from '../lib/python.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, until } from '../lib/wait.mjs';

let server;
let backend;

before(async () => {
  const env = { RESOUND_APP_DEFAULTS_WATCHLIST: 'true', RESOUND_APP_DEFAULTS_WATCHLIST_GRACE_MS: '100' };
  server = await startResound({ env });
  backend = await startBackend(server);
});

after(async () => {
  await backend?.stop();
  await server?.stop();
});

/** Calls the Python SDK once and returns what it answered. */
async function python(method, ...args) {
  const { app, host, port } = server;
  const [answer] = await runPython('server_sdk.py', { app, host, port, calls: [{ method, args }] });
  return answer;
}

/** A signed-in client; `watchlist` names whom it watches. */
async function signIn(client, user, watchlist) {
  const headers = { 'X-User': user, ...(watchlist && { 'X-Watchlist': watchlist }) };
  const userAuthentication = { endpoint: `${backend.url}/broadcasting/user-auth`, headers, transport: 'ajax' };
  const { pusher, close } = connectPusher(client, server, backend, { user, userAuthentication });
  const online = new Inbox(`online for ${user}`);
  const offline = new Inbox(`offline for ${user}`);
  pusher.user.watchlist.bind('online', online.push);
  pusher.user.watchlist.bind('offline', offline.push);
  await connected(pusher);
  pusher.signin();
  await until(() => pusher.user.user_data?.id === user, `${user} is signed in`);
  return { pusher, close, online, offline };
}

for (const client of PUSHER_CLIENTS) {
  describe(client.name, () => {
    const id = (name) => `${name}-${client.slug}`;

    test('events to a user reach all its connections, from both server SDKs', async () => {
      const tabs = [await signIn(client, id('ann')), await signIn(client, id('ann'))];
      const other = await signIn(client, id('bob'));
      try {
        const seen = tabs.map((tab, n) => {
          const inbox = new Inbox(`tab ${n}`);
          tab.pusher.user.bind('message', inbox.push);
          return inbox;
        });
        const strange = new Inbox('bob');
        other.pusher.user.bind('message', strange.push);
        await nodeSdk(server).sendToUser(id('ann'), 'message', { from: 'node' });
        assert.deepEqual(await python('send_to_user', id('ann'), 'message', { from: 'python' }), { ok: {} });
        for (const inbox of seen) {
          assert.deepEqual(await inbox.take(2), [{ from: 'node' }, { from: 'python' }]);
        }
        await nodeSdk(server).sendToUser(id('bob'), 'message', { last: true });
        assert.deepEqual(await strange.take(1), [{ last: true }]);
      } finally {
        for (const { close } of [...tabs, other]) await close();
      }
    });

    test("the Python SDK's authenticate_user signs in as well", async () => {
      const customHandler = async ({ socketId }, callback) => {
        const answer = await python('authenticate_user', socketId, { id: id('pia'), user_info: { name: 'Pía' } });
        callback(null, answer.ok);
      };
      const { pusher, close } = connectPusher(client, server, backend, { userAuthentication: { customHandler } });
      try {
        await connected(pusher);
        pusher.signin();
        await until(() => pusher.user.user_data?.id === id('pia'), 'signed in');
        assert.deepEqual(pusher.user.user_data.user_info, { name: 'Pía' });
      } finally {
        await close();
      }
    });

    test('a watchlist tells who is online, who comes and who goes', async () => {
      const bob = await signIn(client, id('watched-bob'));
      const ann = await signIn(client, id('watcher'), `${id('watched-bob')},${id('watched-cat')}`);
      try {
        const ids = (events) => events.map((event) => event.user_ids);
        assert.deepEqual(ids(await ann.online.take(1)), [[id('watched-bob')]]);
        assert.deepEqual(ids(await ann.offline.take(1)), [[id('watched-cat')]]);
        const cat = await signIn(client, id('watched-cat'));
        assert.deepEqual(ids(await ann.online.take(2))[1], [id('watched-cat')]);
        await cat.close();
        assert.deepEqual(ids(await ann.offline.take(2))[1], [id('watched-cat')]);
      } finally {
        await ann.close();
        await bob.close();
      }
    });

    for (const [sdk, terminate] of [
      ['Node', (user) => nodeSdk(server).terminateUserConnections(user)],
      ['Python', (user) => python('terminate_user_connections', user)],
    ]) {
      test(`${sdk}'s terminateUserConnections closes the user's connections for good, and no others`, async () => {
        const user = `${id('gone')}-${sdk}`;
        const [first, second, bystander] = [
          await signIn(client, user),
          await signIn(client, user),
          await signIn(client, `${user}-not`),
        ];
        try {
          const errors = new Inbox('errors');
          first.pusher.connection.bind('error', errors.push);
          await terminate(user);
          for (const { pusher } of [first, second]) {
            await until(() => pusher.connection.state === 'disconnected', 'the connection is closed');
          }
          const error = await errors.find((item) => item.error?.data?.code === 4009 || item.data?.code === 4009);
          assert.ok(error);
          assert.equal(bystander.pusher.connection.state, 'connected');
        } finally {
          for (const { close } of [first, second, bystander]) await close();
        }
      });
    }
  });
}
