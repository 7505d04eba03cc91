// The client libraries under test, each made to connect to a given server.
import Echo2 from 'laravel-echo';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { until } from './wait.mjs';

const require = createRequire(import.meta.url);
const LIBRARIES = {
  pusher8: require('pusher-js'),
  pusher7: require('pusher-js-7'),
  echo2: Echo2,
  echo1: require('laravel-echo-1').default ?? require('laravel-echo-1'),
};

function version(name) {
  // Read as a file: not every package lets its package.json be imported.
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')).version;
}

export const PUSHER_CLIENTS = [
  { slug: 'pusher-js-8', name: `pusher-js ${version('pusher-js')}`, Pusher: LIBRARIES.pusher8 },
  { slug: 'pusher-js-7', name: `pusher-js ${version('pusher-js-7')}`, Pusher: LIBRARIES.pusher7 },
];

export const ECHO_CLIENTS = [
  { slug: 'echo-2', name: `laravel-echo ${version('laravel-echo')}`, Echo: LIBRARIES.echo2, Pusher: LIBRARIES.pusher8 },
  { slug: 'echo-1', name: `laravel-echo ${version('laravel-echo-1')}`, Echo: LIBRARIES.echo1, Pusher: LIBRARIES.pusher7 },
].flatMap((client) =>
  ['reverb', 'pusher'].map((broadcaster) => ({
    ...client,
    broadcaster,
    slug: `${client.slug}-${broadcaster}`,
    name: `${client.name} (${broadcaster})`,
  })),
);

/** Where a client connects: `server` has app, host and port, `backend` the auth endpoints. */
function options(server, backend, user) {
  const headers = { 'X-User': user };
  return {
    cluster: '',
    wsHost: server.host,
    wsPort: server.port,
    forceTLS: false,
    enabledTransports: ['ws'],
    enableStats: false,
    authEndpoint: `${backend.url}/broadcasting/auth`,
    auth: { headers },
    userAuthentication: { endpoint: `${backend.url}/broadcasting/user-auth`, headers, transport: 'ajax' },
  };
}

/** A pusher-js client. Connects at once; `close` ends it and waits until it has ended. */
export function connectPusher({ Pusher }, server, backend, { user = 'ann', key = server.app.key, ...more } = {}) {
  const pusher = new Pusher(key, { ...options(server, backend, user), ...more });
  return { pusher, close: () => closePusher(pusher) };
}

/** A Laravel Echo client over its pusher-js, made as Laravel's own stub makes it. */
export function connectEcho({ Echo, Pusher, broadcaster }, server, backend, { user = 'ann', key = server.app.key } = {}) {
  const echo = new Echo({
    ...options(server, backend, user),
    broadcaster,
    key,
    Pusher,
    withoutInterceptors: true,
  });
  const { pusher } = echo.connector;
  return { echo, pusher, close: () => closePusher(pusher) };
}

async function closePusher(pusher) {
  pusher.disconnect();
  // pusher-js 8 leaves a second reconnect timer behind after a 41xx close; wait for the state to settle.
  await until(() => ['disconnected', 'failed', 'initialized'].includes(pusher.connection.state), 'the client disconnects');
}

export function connected(pusher) {
  return until(
    () => pusher.connection.state === 'connected',
    () => `connected; the state is ${pusher.connection.state}`,
  );
}

/** Subscribes and waits for the confirmation. */
export async function subscribe(pusher, name) {
  const channel = pusher.subscribe(name);
  await subscribed(channel);
  return channel;
}

export function subscribed(channel) {
  return until(() => channel.subscribed, `${channel.name} is subscribed`);
}
