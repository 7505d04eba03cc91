// Records clients/ and sdks/: every case starts a server of its own, puts the recording proxy before it and lets
// a real client or SDK act. Usage: record.mjs [part of a case's name]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeSdk, startBackend } from '../tests/clients/lib/backend.mjs';
import {
  ECHO_CLIENTS,
  PUSHER_CLIENTS,
  connectEcho,
  connectPusher,
  connected,
  subscribed,
} from '../tests/clients/lib/clients.mjs';
import { channelKinds, isCacheKind } from '../tests/clients/lib/payloads.mjs';
import { runPython, spawnPython } from '../tests/clients/lib/python.mjs';
import { APP, MASTER_KEY_BASE64, startResound } from '../tests/clients/lib/resound.mjs';
import { Inbox, until } from '../tests/clients/lib/wait.mjs';
import { writeFixture } from './lib/format.mjs';
import { RecordingProxy } from './lib/proxy.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(new URL('../tests/clients/package.json', import.meta.url));
const NODE_SDK = `pusher ${require('pusher/package.json').version} (Node)`;
const PYTHON_SDK = `pusher ${pythonVersion('pusher')} (Python)`;
const PYSHER = `Pysher ${pythonVersion('Pysher')}`;
/** who hears what a server SDK publishes */
const SUBSCRIBER = PUSHER_CLIENTS[0];
const DATA = { id: 42, note: 'naïve / "quoted"' };
const WATCHLIST_ON = { RESOUND_APP_DEFAULTS_WATCHLIST: 'true', RESOUND_APP_DEFAULTS_WATCHLIST_GRACE_MS: '100' };
const COUNTS_ON = { RESOUND_APP_DEFAULTS_SUBSCRIPTION_COUNT: 'true' };

const cases = [...clientCases(), ...nodeSdkCases(), ...pythonSdkCases(), ...pysherCases()];
const wanted = process.argv[2] ?? '';
for (const each of cases.filter(({ file }) => file.includes(wanted))) {
  await record(each);
  console.log(each.file);
}

function pythonVersion(name) {
  const pins = readFileSync(new URL('../tests/clients/requirements.txt', import.meta.url), 'utf8');
  return pins.match(new RegExp(`^${name}==(.*)$`, 'm'))[1];
}

async function record({ file, shows, client, env, run }) {
  const server = await startResound({ env });
  const proxy = await new RecordingProxy(server).start();
  // Auth endpoints sign themselves and are no part of the recording.
  const backend = await startBackend(server);
  const open = [];
  try {
    await run({ proxy, server, backend, sdk: nodeSdk(proxy), keep: (connection) => (open.push(connection), connection) });
    const steps = proxy.conversation();
    proxy.recording = false;
    writeFixture(path.join(HERE, file), { shows, client, app: APP, env, steps });
  } catch (error) {
    throw new Error(`${file}: ${error.message}`, { cause: error });
  } finally {
    await Promise.all(open.map((connection) => connection.close()));
    await backend.stop();
    await proxy.stop();
    await server.stop();
  }
}

// Clients: the same conversations with each library.

function clientCases() {
  const libraries = [
    ...PUSHER_CLIENTS.map((client) => ({ ...client, connect: connectPusher })),
    ...ECHO_CLIENTS.map((client) => ({ ...client, connect: connectEcho })),
  ];
  return libraries.flatMap((library) => {
    const named = (name, shows, run, env) => ({
      file: `clients/${library.slug}-${name}.json`,
      shows,
      client: library.name,
      env,
      run: (context) =>
        run({
          ...context,
          connect: (options) => connectNext(library, context, options),
          connectAnyhow: (options) => connectAny(library, context, options),
        }),
    });
    return [
      named('connect', 'connects, and disconnects on its own wish', connectAndLeave),
      ...channelKinds('orders').map((channel) =>
        named(channel, `subscribes to ${channel} and receives an event`, (context) => oneChannel(context, channel)),
      ),
      named('presence-two-users', 'two users come, the second twice, and it leaves', presenceOfTwo),
      named('whisper-private', 'client events on a private channel reach the others only', (context) => whisper(context, 'private-chat')),
      named('whisper-presence', 'client events on a presence channel tell who sent them', (context) => whisper(context, 'presence-chat')),
      named('auth-forged', 'a forged signature is answered with an error and the connection stays open', forgedAuth),
      named('auth-refused', 'the auth endpoint refuses, so the client asks the server for nothing', refusedAuth),
      named('unsubscribe', 'nothing more arrives of a channel that was left', unsubscribe),
      named('unknown-key', 'an unknown app key is refused with 4001', unknownKey),
      // Users and counts are pusher-js' own; Echo only passes them on.
      ...(library.Echo ? [] : userCases(named)),
    ];
  });
}

function userCases(named) {
  return [
    named('user-signin', 'signs in, subscribes to its own channel and receives an event to the user', userEvents),
    named('user-signin-forged', 'a forged sign-in is answered with an error and the connection stays open', forgedSignIn),
    named('user-watchlist', 'who is online at the sign-in, who comes and who goes', watchlist, WATCHLIST_ON),
    named('user-terminated', "4009 closes a user's connections and no others", terminated),
    named('subscription-count', 'the count follows who comes and goes, after the answer to a subscription', counts, COUNTS_ON),
  ];
}

function connectAny(library, { proxy, backend, keep }, options) {
  return keep(library.connect(library, proxy, backend, options));
}

/** Connects the next client, and waits: connections are named in the order they come. */
async function connectNext(library, context, options) {
  const connection = connectAny(library, context, options);
  await connected(connection.pusher);
  return connection;
}

async function subscribeAs({ pusher }, name) {
  const channel = pusher.subscribe(name);
  await subscribed(channel);
  return channel;
}

async function connectAndLeave({ connect, proxy }) {
  const { pusher } = await connect();
  pusher.disconnect();
  await until(() => proxy.steps.some((step) => step.close), 'the client closes');
}

async function oneChannel({ connect, sdk }, name) {
  const first = await connect();
  const misses = new Inbox('misses');
  const events = new Inbox('events');
  const channel = first.pusher.subscribe(name);
  channel.bind('pusher:cache_miss', misses.push).bind('order.shipped', events.push);
  await subscribed(channel);
  if (isCacheKind(name)) await misses.take(1);
  await sdk.trigger(name, 'order.shipped', DATA);
  await events.take(1);
  if (!isCacheKind(name)) return;
  const cached = new Inbox('cached');
  const second = (await connect({ user: 'ann' })).pusher.subscribe(name);
  second.bind('order.shipped', cached.push);
  await cached.take(1);
}

async function presenceOfTwo({ connect }) {
  const ann = await connect({ user: 'ann' });
  const changes = new Inbox('changes');
  const channel = await subscribeAs(ann, 'presence-lobby');
  channel.bind('pusher:member_added', changes.push).bind('pusher:member_removed', changes.push);
  const [bobOne, bobTwo] = [await connect({ user: 'bob' }), await connect({ user: 'bob' })];
  await subscribeAs(bobOne, 'presence-lobby');
  await changes.take(1);
  await subscribeAs(bobTwo, 'presence-lobby');
  bobOne.pusher.unsubscribe('presence-lobby');
  bobTwo.pusher.unsubscribe('presence-lobby');
  await changes.take(2);
}

async function whisper({ connect }, name) {
  const [ann, bob] = [await connect({ user: 'ann' }), await connect({ user: 'bob' })];
  const annChannel = await subscribeAs(ann, name);
  const joined = new Inbox('joined');
  annChannel.bind('pusher:member_added', joined.push);
  const bobChannel = await subscribeAs(bob, name);
  if (name.startsWith('presence-')) await joined.take(1);
  const [heardByAnn, heardByBob] = [new Inbox('ann'), new Inbox('bob')];
  annChannel.bind('client-typing', heardByAnn.push);
  bobChannel.bind('client-typing', heardByBob.push);
  annChannel.trigger('client-typing', { on: true, text: 'Žofie' });
  await heardByBob.take(1);
  bobChannel.trigger('client-typing', { on: false });
  await heardByAnn.take(1);
}

async function forgedAuth({ connect }) {
  const { pusher } = await connect();
  for (const name of ['private-forged', 'presence-forged']) {
    const errors = new Inbox('errors');
    const answers = new Inbox('answers');
    pusher.connection.bind('error', answers.push);
    pusher.subscribe(name).bind('pusher:subscription_error', errors.push);
    await errors.take(1);
    await answers.take(1);
    pusher.connection.unbind('error', answers.push);
  }
  await subscribeAs({ pusher }, 'still-here');
}

async function refusedAuth({ connect }) {
  const { pusher } = await connect();
  const errors = new Inbox('errors');
  pusher.subscribe('private-forbidden').bind('pusher:subscription_error', errors.push);
  await errors.take(1);
  await subscribeAs({ pusher }, 'still-here');
}

async function unsubscribe({ connect, sdk }) {
  const { pusher } = await connect();
  await subscribeAs({ pusher }, 'left');
  const stayed = await subscribeAs({ pusher }, 'stayed');
  const events = new Inbox('events');
  stayed.bind('e', events.push);
  pusher.unsubscribe('left');
  // The answer to a subscription says that what was sent before it is done.
  await subscribeAs({ pusher }, 'mark');
  await sdk.trigger(['left', 'stayed'], 'e', DATA);
  await events.take(1);
}

async function unknownKey({ connectAnyhow, proxy }) {
  connectAnyhow({ key: 'nobody' });
  await closedByServer({ proxy }, 1);
}

/** Connects and signs in; `watched` are the ids the user watches. */
async function signIn({ connect, backend }, user, watched) {
  const headers = { 'X-User': user, ...(watched && { 'X-Watchlist': watched.join() }) };
  const userAuthentication = { endpoint: `${backend.url}/broadcasting/user-auth`, headers, transport: 'ajax' };
  const connection = await connect({ user, userAuthentication });
  connection.messages = new Inbox(`messages to ${user}`);
  connection.pusher.user.bind('message', connection.messages.push);
  connection.changes = new Inbox(`watchlist of ${user}`);
  for (const name of ['online', 'offline']) connection.pusher.user.watchlist.bind(name, connection.changes.push);
  connection.pusher.signin();
  await until(() => connection.pusher.user.serverToUserChannel?.subscribed, `${user} is signed in`);
  return connection;
}

async function userEvents(context) {
  const tabs = [await signIn(context, 'ann'), await signIn(context, 'ann')];
  await signIn(context, 'bob');
  await context.sdk.sendToUser('ann', 'message', DATA);
  for (const { messages } of tabs) await messages.take(1);
}

async function forgedSignIn({ connect, proxy }) {
  const forger = nodeSdk(proxy, { secret: 'wrong' });
  const customHandler = ({ socketId }, answer) => answer(null, forger.authenticateUser(socketId, { id: 'ann' }));
  const { pusher } = await connect({ userAuthentication: { customHandler } });
  const errors = new Inbox('errors');
  pusher.connection.bind('error', errors.push);
  pusher.signin();
  await errors.take(1);
  await subscribeAs({ pusher }, 'still-here');
}

async function watchlist(context) {
  await signIn(context, 'bob');
  const ann = await signIn(context, 'ann', ['bob', 'cat']);
  await ann.changes.take(2);
  const cat = await signIn(context, 'cat');
  await ann.changes.take(3);
  cat.pusher.disconnect();
  await ann.changes.take(4);
}

async function terminated(context) {
  for (const user of ['ann', 'ann', 'bob']) await signIn(context, user);
  await context.sdk.terminateUserConnections('ann');
  await closedByServer(context, 2);
}

function closedByServer({ proxy }, count) {
  return until(() => proxy.steps.filter((step) => step.closed).length === count, `the server closes ${count} connections`);
}

async function counts({ connect }) {
  const heard = new Inbox('counts');
  const join = async (user, name) => {
    const { pusher } = await connect({ user });
    // Bound before the subscription, whose answer the first count follows.
    const channel = pusher.subscribe(name);
    channel.bind('pusher:subscription_count', heard.push);
    await subscribed(channel);
    return pusher;
  };
  await join('ann', 'private-cache-orders');
  await heard.take(1);
  const bob = await join('bob', 'private-cache-orders');
  await heard.take(3);
  bob.unsubscribe('private-cache-orders');
  await heard.take(4);
}

// Server SDKs: what they send, with a subscriber to see what is delivered.

async function subscriber({ proxy, backend, keep }, names, user = 'ann') {
  const connection = keep(connectPusher(SUBSCRIBER, proxy, backend, { user }));
  await connected(connection.pusher);
  connection.events = new Inbox('events');
  for (const name of names) {
    const channel = connection.pusher.subscribe(name);
    channel.bind_global((event, data) => event.startsWith('pusher') || connection.events.push(data));
    await subscribed(channel);
  }
  return connection;
}

function signInSubscriber(context, user) {
  const connect = (options) => connectNext({ ...SUBSCRIBER, connect: connectPusher }, context, options);
  return signIn({ ...context, connect }, user);
}

function nodeSdkCases() {
  const named = (name, shows, run) => ({ file: `sdks/node-${name}.json`, shows, client: NODE_SDK, run });
  return sdkCases(named, (context, call) => call.node(context.sdk));
}

function pythonSdkCases() {
  const named = (name, shows, run) => ({ file: `sdks/python-${name}.json`, shows, client: PYTHON_SDK, run });
  const act = async ({ proxy }, call) => {
    const { app, host, port } = proxy;
    const [answer] = await runPython('server_sdk.py', { app, host, port, master_key: MASTER_KEY_BASE64, calls: [call.python] });
    if (answer.error && !call.fails) throw new Error(answer.message);
  };
  return sdkCases(named, act).filter(({ file }) => !file.endsWith('-trigger-info.json') /* it can't ask */);
}

/** The same calls by either SDK; `act` makes one. */
function sdkCases(named, act) {
  const python = (method, args, kwargs = {}) => ({ method, args, kwargs });
  return [
    named('trigger', 'one event to one channel', async (context) => {
      const { events } = await subscriber(context, ['orders']);
      await act(context, {
        node: (sdk) => sdk.trigger('orders', 'e', DATA),
        python: python('trigger', ['orders', 'e', DATA]),
      });
      await events.take(1);
    }),
    named('trigger-many', 'one event to several channels, one with no subscriber', async (context) => {
      const { events } = await subscriber(context, ['orders', 'private-orders']);
      const channels = ['orders', 'private-orders', 'nobody'];
      await act(context, {
        node: (sdk) => sdk.trigger(channels, 'e', DATA),
        python: python('trigger', [channels, 'e', DATA]),
      });
      await events.take(2);
    }),
    named('trigger-to-others', 'socket_id keeps the event from one connection', async (context) => {
      const sender = await subscriber(context, ['private-orders']);
      const other = await subscriber(context, ['private-orders'], 'bob');
      const { socket_id } = sender.pusher.connection;
      await act(context, {
        node: (sdk) => sdk.trigger('private-orders', 'e', DATA, { socket_id }),
        python: python('trigger', ['private-orders', 'e', DATA, socket_id]),
      });
      await other.events.take(1);
    }),
    named('trigger-info', 'asks for the counts with the event', async (context) => {
      const { events } = await subscriber(context, ['orders', 'presence-lobby']);
      await act(context, {
        node: (sdk) => sdk.trigger(['orders', 'presence-lobby'], 'e', DATA, { info: 'user_count,subscription_count' }),
      });
      await events.take(2);
    }),
    named('trigger-encrypted', 'ciphertext passes as it is', async (context) => {
      const { events } = await subscriber(context, ['private-encrypted-orders']);
      await act(context, {
        node: (sdk) => sdk.trigger('private-encrypted-orders', 'e', DATA),
        python: python('trigger', ['private-encrypted-orders', 'e', DATA]),
      });
      await events.take(1);
    }),
    named('batch', 'two events in one request', async (context) => {
      const { events } = await subscriber(context, ['orders', 'private-orders']);
      const batch = [
        { channel: 'orders', name: 'one', data: { n: 1 } },
        { channel: 'private-orders', name: 'two', data: { n: 2 } },
      ];
      await act(context, { node: (sdk) => sdk.triggerBatch(batch), python: python('trigger_batch', [batch]) });
      await events.take(2);
    }),
    named('channels', 'all occupied channels, and those of a prefix with their user counts', async (context) => {
      await subscriber(context, ['orders', 'presence-lobby']);
      await act(context, { node: (sdk) => sdk.get({ path: '/channels' }), python: python('channels_info', []) });
      await act(context, {
        node: (sdk) => sdk.get({ path: '/channels', params: { filter_by_prefix: 'presence-', info: 'user_count' } }),
        python: python('channels_info', ['presence-', ['user_count']]),
      });
    }),
    named('channel', 'a channel with and without subscribers', async (context) => {
      await subscriber(context, ['presence-lobby']);
      for (const name of ['presence-lobby', 'presence-empty']) {
        await act(context, {
          node: (sdk) => sdk.get({ path: `/channels/${name}`, params: { info: 'user_count,subscription_count' } }),
          python: python('channel_info', [name, ['user_count', 'subscription_count']]),
        });
      }
    }),
    named('channel-cache', 'the cached event of a channel', async (context) => {
      await act(context, {
        node: (sdk) => sdk.trigger('cache-prices', 'e', DATA),
        python: python('trigger', ['cache-prices', 'e', DATA]),
      });
      await act(context, {
        node: (sdk) => sdk.get({ path: '/channels/cache-prices', params: { info: 'cache' } }),
        python: python('channel_info', ['cache-prices', ['cache']]),
      });
    }),
    named('users', 'the users of a presence channel, each once', async (context) => {
      await subscriber(context, ['presence-lobby']);
      await subscriber(context, ['presence-lobby']);
      await act(context, {
        node: (sdk) => sdk.get({ path: '/channels/presence-lobby/users' }),
        python: python('users_info', ['presence-lobby']),
      });
    }),
    named('send-to-user', "an event to a user reaches the user's connection only", async (context) => {
      const { messages } = await signInSubscriber(context, 'ann');
      await signInSubscriber(context, 'bob');
      await act(context, {
        node: (sdk) => sdk.sendToUser('ann', 'message', DATA),
        python: python('send_to_user', ['ann', 'message', DATA]),
      });
      await messages.take(1);
    }),
    named('terminate-user', "4009 closes the user's connection only", async (context) => {
      await signInSubscriber(context, 'ann');
      await signInSubscriber(context, 'bob');
      await act(context, {
        node: (sdk) => sdk.terminateUserConnections('ann'),
        python: python('terminate_user_connections', ['ann']),
      });
      await closedByServer(context, 1);
    }),
    named('refused', 'a reserved event name is answered with a sentence', async (context) => {
      await act(context, {
        fails: true,
        // Its promise fails with the answer, which the recording shows.
        node: (sdk) => sdk.trigger('orders', 'pusher:e', DATA).catch(() => {}),
        python: python('trigger', ['orders', 'pusher:e', DATA]),
      });
    }),
  ];
}

function pysherCases() {
  return ['orders', 'private-orders', 'presence-orders'].map((name) => ({
    file: `clients/pysher-${name}.json`,
    shows: `pings as soon as the socket is open, subscribes to ${name} and receives an event`,
    client: PYSHER,
    run: async ({ proxy, sdk }) => {
      const { app, host, port } = proxy;
      const client = spawnPython('pysher_client.py', { app, host, port, channels: [name] });
      await client.line('subscribed');
      await sdk.trigger(name, 'e', DATA);
      await client.ended();
    },
  }));
}
