// What a page goes through when the operator restarts the server: it reconnects by itself and every
// subscription is back. All run side by side: pusher-js retries at once when told to go away (4200), and if
// the new server does not listen yet, its own pause until the next try is 15 s.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { ECHO_CLIENTS, PUSHER_CLIENTS, connectEcho, connectPusher, subscribe, subscribed } from '../lib/clients.mjs';
import { channelKinds } from '../lib/payloads.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, until } from '../lib/wait.mjs';

const RECONNECT_DEADLINE_MS = 45_000;

async function withServer(run) {
  const server = await startResound();
  const backend = await startBackend(server);
  try {
    await run(server, backend);
  } finally {
    await backend.stop();
    await server.stop();
  }
}

/** Restarts the server and waits until `pusher` is connected to the new one. */
async function restart(server, pusher) {
  const before = pusher.connection.socket_id;
  await server.restart();
  await until(
    () => pusher.connection.state === 'connected' && pusher.connection.socket_id !== before,
    'the client is connected again',
    RECONNECT_DEADLINE_MS,
  );
}

describe('the server restarts', { concurrency: true }, () => {
  for (const client of PUSHER_CLIENTS) {
    test(`${client.name}: channels of every kind are back`, () =>
      withServer(async (server, backend) => {
        const { pusher, close } = connectPusher(client, server, backend);
        try {
          const names = channelKinds('back');
          const seen = new Inbox('events after the restart');
          for (const name of names) (await subscribe(pusher, name)).bind('e', seen.push);
          await restart(server, pusher);
          await Promise.all(names.map((name) => subscribed(pusher.channel(name))));
          for (const name of names) await nodeSdk(server).trigger(name, 'e', { name });
          assert.deepEqual(await seen.take(names.length), names.map((name) => ({ name })));
        } finally {
          await close();
        }
      }));
  }

  for (const client of ECHO_CLIENTS) {
    test(`${client.name}: listens again, and here() tells the members anew`, () =>
      withServer(async (server, backend) => {
        const { echo, pusher, close } = connectEcho(client, server, backend);
        try {
          const [here, seen] = [new Inbox('here'), new Inbox('events')];
          const channels = [echo.join('back').here(here.push), echo.private('back'), echo.channel('back')];
          for (const channel of channels) channel.listen('.e', seen.push);
          await Promise.all(channels.map(({ subscription }) => subscribed(subscription)));
          await restart(server, pusher);
          await Promise.all(channels.map(({ subscription }) => subscribed(subscription)));
          await here.take(2);
          await nodeSdk(server).trigger(['presence-back', 'private-back', 'back'], 'e', { n: 1 });
          assert.deepEqual(await seen.take(3), [{ n: 1 }, { n: 1 }, { n: 1 }]);
        } finally {
          await close();
        }
      }));
  }
});
