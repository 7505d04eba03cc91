// Turns raw requests of Laravel backends (a folder with index.json and *.http files) into fixtures in php/.
// The requests stay as they were sent; subscribers and expected answers are written by the protocol's rules.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { RawJson, writeFixture } from './lib/format.mjs';

const OUT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'php');
const JSON_HEADERS = { 'content-type': 'application/json' };
const ANSWER_OF = {
  'l12-batch': { batch: [{}, { subscription_count: 1 }] },
  'l12-trigger-info': {
    channels: { 'lab-a': { subscription_count: 1 }, 'presence-lab-c': { user_count: 1, subscription_count: 1 } },
  },
  'l12-get-channel': { occupied: true, user_count: 1, subscription_count: 1 },
  'l12-get-channels': { channels: { 'presence-room.7': { user_count: 1 } } },
  'l12-get-connections': { connections: 1 },
  'l12-get-users': { users: [{ id: '3' }] },
};
const ENV_OF = {
  'l12-big': { REVERB_MAX_REQUEST_SIZE: '100000' },
  'l12-path-prefix-no-slash': { REVERB_SERVER_PATH: 'reverb' },
  'l12-path-prefix-trailing-slash': { REVERB_SERVER_PATH: 'reverb' },
};

/** What a name alone doesn't tell. */
const SHOWS = {
  'l12-public': 'escaped unicode, slashes, empty list and object arrive byte for byte',
  'l12-private': 'broadcastAs gives the event a name of its own',
  'l12-encrypted': 'ciphertext passes untouched',
  'l12-presence': 'an event to a presence channel',
  'l12-multi': 'one event to a public, a private and a presence channel',
  'l12-batch': 'a batch in which one item asks for the subscription count and names an unknown socket',
  'l12-big': '20 kB of data pass where REVERB_MAX_REQUEST_SIZE allows them',
  'l12-send-to-user': 'an event to a user reaches the connection signed in as that user, and no other',
  'l12-terminate-user': "a user's connection is closed with 4009, another user's stays open",
  'l12-toothers-private': 'toOthers: the excluded socket gets nothing',
  'l12-toothers-multi': 'toOthers on several channels: the excluded socket gets nothing',
  'l12-trigger-info': 'counts come back where they apply',
  'l12-path-prefix-no-slash': 'a path prefix that the SDK lost: the request still arrives',
  'l12-path-prefix-trailing-slash': 'a path prefix in the request that is not part of what was signed',
};

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node convert-captures.mjs FOLDER');
  process.exit(2);
}
const index = JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8'));
const app = { id: index.app_id, key: index.key, secret: index.secret };

for (const file of readdirSync(folder).filter((name) => name.endsWith('.http'))) {
  const name = path.basename(file, '.http');
  writeFixture(path.join(OUT, `${name}.json`), convert(name, parse(file), index.requests[file]));
}

function parse(file) {
  const [head, body] = split(readFileSync(path.join(folder, file), 'utf8'));
  const [first, ...lines] = head.split(/\r?\n/);
  const [method, target] = first.split(' ');
  const [pathname, query] = target.split('?');
  const headers = Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
  delete headers.Host;
  delete headers['Content-Length'];
  return { method, path: pathname, query, headers, body };
}

function split(text) {
  const end = text.match(/\r?\n\r?\n/);
  return [text.slice(0, end.index), text.slice(end.index + end[0].length)];
}

function convert(name, raw, { signed_path }) {
  const library = raw.headers['X-Pusher-Library'];
  const event = raw.body ? JSON.parse(raw.body) : undefined;
  // toOthers: the recorded socket id was made up; here it is the first subscriber's.
  const body = event?.socket_id ? raw.body.replace(event.socket_id, '{{socket_id:a}}') : raw.body;
  const messages = event ? messagesOf(event) : [];
  const channels = messages.length ? [...new Set(messages.map(({ channel }) => channel))] : readChannels(raw.path, name);
  const terminated = raw.path.match(/\/users\/([^/]+)\/terminate_connections$/)?.[1];
  const isAboutUser = channels.some(isUserChannel);
  const subscribers = event?.socket_id || isAboutUser ? ['a', 'b'] : ['a'];
  const path_ = raw.path === signed_path ? {} : { signed_path };
  return {
    shows: `${name.startsWith('l8') ? 'Laravel 8' : 'Laravel 12'}: ${SHOWS[name] ?? titleOf(name)}`,
    client: library,
    app,
    env: ENV_OF[name],
    steps: [
      ...subscribers.flatMap((on) => subscribe(on, channels, subscribers)),
      {
        request: {
          method: raw.method,
          path: raw.path,
          ...path_,
          query: placeholders(raw, body),
          headers: raw.headers,
          ...(raw.body && { body }),
        },
      },
      { response: { status: 200, headers: JSON_HEADERS, body: ANSWER_OF[name] ?? {} } },
      ...subscribers
        .filter((on) => !(event?.socket_id && on === 'a'))
        .flatMap((on) => messages.map((message) => ({ on, receive: deliver(message) })))
        .filter(({ on, receive }) => !isUserChannel(receive.channel) || receive.channel === userChannel(userOf(on))),
      ...subscribers.filter((on) => String(userOf(on)) === terminated).flatMap(terminate),
    ],
  };
}

function titleOf(name) {
  return name.replace(/^l\d+-/, '').replaceAll('-', ' ');
}

/** Each event of a publish or batch body, once for each of its channels. */
function messagesOf(body) {
  const events = body.batch ?? [body];
  return events.flatMap(({ name, data, channel, channels }) =>
    (channels ?? [channel]).filter(Boolean).map((each) => ({ event: name, channel: each, data })),
  );
}

function deliver({ event, channel, data }) {
  return { event, channel, data };
}

/** The channel a read asks about is occupied in the fixture, so that the answer has something to tell. */
function readChannels(pathname, name) {
  const named = pathname.match(/\/channels\/([^/]+)/);
  if (named) return [named[1]];
  const user = pathname.match(/\/users\/([^/]+)/);
  if (user) return [userChannel(user[1])];
  return name === 'l12-get-channels' ? ['presence-room.7', 'lab-public'] : ['lab-public'];
}

/** The connections' users are 3, 4, … */
function userOf(on) {
  return on.charCodeAt(0) - 'a'.charCodeAt(0) + 3;
}

function userChannel(user) {
  return `#server-to-user-${user}`;
}

function isUserChannel(channel) {
  return channel.startsWith(userChannel(''));
}

/** A client that signs in, and asks for its own channel as pusher-js does. */
function signIn(on) {
  const channel = userChannel(userOf(on));
  const user_data = JSON.stringify({ id: String(userOf(on)), user_info: info(userOf(on)) });
  const signin = { event: 'pusher:signin', data: { auth: `${app.key}:{{signature}}`, user_data } };
  return [
    { on, send: new RawJson(JSON.stringify(signin)) },
    { on, receive: { event: 'pusher:signin_success', data: { user_data } } },
    { on, send: new RawJson(JSON.stringify({ event: 'pusher:subscribe', data: { auth: '', channel } })) },
    { on, receive: { event: 'pusher_internal:subscription_succeeded', channel, data: '{}' } },
  ];
}

function terminate(on) {
  const message = 'You got disconnected by the app.';
  return [
    { on, receive: { event: 'pusher:error', data: { code: 4009, message } } },
    { on, closed: { code: 4009, reason: message } },
  ];
}

function subscribe(on, channels, subscribers) {
  const user = userOf(on);
  return [
    { on, connect: { path: `/app/${app.key}?protocol=7&client=js&version=8.6.0&flash=false` } },
    {
      on,
      receive: {
        event: 'pusher:connection_established',
        data: `{"socket_id":"{{socket_id:${on}}}","activity_timeout":30}`,
      },
    },
    ...(channels.some(isUserChannel) ? signIn(on) : []),
    ...channels.filter((channel) => !isUserChannel(channel)).flatMap((channel) => [
      { on, send: new RawJson(JSON.stringify({ event: 'pusher:subscribe', data: subscription(channel, user) })) },
      { on, receive: { event: 'pusher_internal:subscription_succeeded', channel, data: members(channel, user) } },
      // Whoever is there already hears of a new member.
      ...(channel.startsWith('presence-')
        ? subscribers.slice(0, subscribers.indexOf(on)).map((other) => ({
            on: other,
            receive: { event: 'pusher_internal:member_added', channel, data: memberAdded(user) },
          }))
        : []),
    ]),
  ];
}

function subscription(channel, user) {
  if (channel.startsWith('presence-')) {
    return { auth: `${app.key}:{{signature}}`, channel_data: memberAdded(user), channel };
  }
  return channel.startsWith('private-') ? { auth: `${app.key}:{{signature}}`, channel } : { auth: '', channel };
}

function info(user) {
  return { id: user, name: `User ${user}` };
}

function memberAdded(user) {
  return JSON.stringify({ user_id: String(user), user_info: info(user) });
}

function members(channel, user) {
  if (!channel.startsWith('presence-')) return '{}';
  const users = Array.from({ length: user - 2 }, (_, i) => i + 3);
  const hash = Object.fromEntries(users.map((each) => [each, info(each)]));
  return JSON.stringify({ presence: { count: users.length, ids: users.map(String), hash } });
}

function placeholders({ query, body: recorded }, body) {
  const md5 = createHash('md5').update(recorded).digest('hex');
  if (recorded && !query.includes(`body_md5=${md5}`)) throw new Error('the capture has another body than it signed');
  return query
    .replace(/(?<=auth_timestamp=)\d+/, '{{timestamp}}')
    .replace(/(?<=auth_signature=)[0-9a-f]+/, '{{signature}}')
    .replace(/(?<=body_md5=)[0-9a-f]+/, (value) => (body === recorded ? value : '{{body_md5}}'));
}
