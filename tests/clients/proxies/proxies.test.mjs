// Real browsers and SDKs in front of nginx, HAProxy, Apache and Caddy, which end the TLS and run with the files of
// packaging/proxies. Their time-outs are 3 s here, so that silence is tested without a long wait.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { launchBrowser, openTab } from '../lib/browser.mjs';
import { makeCertificate, startProxy, TIMEOUT_S } from '../lib/proxies.mjs';
import { startResound } from '../lib/resound.mjs';
import { until, within } from '../lib/wait.mjs';

/** `cuts`: it has a time-out for sockets; `redirects`: from plain HTTP; `lax`: it doesn't say that clients speak TLS. */
const PROXIES = [
  { kind: 'nginx', redirects: true, cuts: true },
  { kind: 'haproxy', redirects: true, cuts: true },
  { kind: 'apache', redirects: true, cuts: true },
  { kind: 'caddy' },
  { kind: 'nginx-laravel', cuts: true, lax: true },
  { kind: 'nginx-location', path: '/reverb', cuts: true },
];
/** An app whose sockets nobody pings: silence through and through. */
const QUIET = { id: '7001', key: 'quiet-key', secret: 'quiet-secret' };
const CONFIG = `
[limits]
connections_per_address = 1

[app_defaults]
require_tls = true
activity_timeout_s = 1
ping_interval_s = 1

[[apps]]
id = "${QUIET.id}"
key = "${QUIET.key}"
secret = "${QUIET.secret}"
activity_timeout_s = 3600
ping_interval_s = 3600
`;

let certificate, browser, context, server, lax, backend;
const started = [];
/** By kind: the proxy, a page that will be left alone, a socket that says nothing. */
const behind = new Map();

before(async () => {
  certificate = makeCertificate();
  const env = { REVERB_SERVER_PATH: '/reverb' };
  server = await startResound({ config: CONFIG, env });
  lax = await startResound({ config: CONFIG.replace('require_tls = true', ''), env });
  // Both servers have the same apps, so that one backend signs for both.
  backend = await startBackend(server);
  browser = await launchBrowser();
  context = await browser.newContext({ ignoreHTTPSErrors: true });
  // All are waited for, so that each one that has started is stopped even if another hasn't.
  const results = await Promise.allSettled(PROXIES.map(async (wanted) => behind.set(wanted.kind, await startOne(wanted))));
  for (const { reason } of results) if (reason) throw reason;
});
after(async () => {
  await browser?.close();
  await backend?.stop();
  for (const { quiet } of behind.values()) quiet.terminate();
  await Promise.all(started.map((proxy) => proxy.stop()));
  await lax?.stop();
  await server?.stop();
  certificate?.remove();
});

/** Starts the silences at once, so that they pass while other things are tested. */
async function startOne({ kind, path, lax: isLax }) {
  const proxy = await startProxy(kind, isLax ? lax : server, certificate, { path });
  started.push(proxy);
  const quiet = socket(proxy.socketUrl(QUIET));
  quiet.closed = once(quiet, 'close');
  await established(quiet);
  const idle = await openTab(context, proxy, backend, { echo: '2', broadcaster: 'reverb', user: 'idle' });
  await idle.listen('private-idle');
  return { proxy, quiet, idle, idleId: await idle.socketId(), since: Date.now() };
}

for (const { kind, redirects, cuts, lax: isLax } of PROXIES) {
  describe(`behind ${kind}`, () => {
    let proxy, sdk;
    const tab = (user, echo = '2', broadcaster = 'reverb') => openTab(context, proxy, backend, { echo, broadcaster, user });

    before(() => {
      proxy = behind.get(kind).proxy;
      sdk = nodeSdk(proxy, proxy.sdkOptions);
    });

    test('pages are shown what an SDK posts through it, who is there and whispers', async () => {
      const ann = await tab('ann');
      const bob = await tab('bob', '1', 'pusher');
      for (const page of [ann, bob]) {
        assert.ok(await page.listen('private-orders'));
        assert.ok(await page.listen('presence-room'));
      }
      await ann.showsMembers(['ann', 'bob']);

      const data = { text: 'Žofie 🚀', long: 'x'.repeat(10_000) };
      assert.equal((await sdk.trigger('private-orders', 'e', data)).status, 200);
      for (const page of [ann, bob]) {
        assert.deepEqual(await page.shows('events', 1), [{ channel: 'private-orders', event: '.e', data }]);
      }
      await bob.whisper('presence-room', { text: 'here' });
      assert.deepEqual((await ann.shows('events', 2))[1], { channel: 'presence-room', whisper: { text: 'here' } });

      const users = await (await sdk.get({ path: '/channels/presence-room/users' })).json();
      assert.deepEqual(users.users.map(({ id }) => id).sort(), ['ann', 'bob']);
      await bob.close();
      await ann.showsMembers(['ann']);
      await ann.close();
    });

    test('large posts come through, one after another', async () => {
      const events = Array.from({ length: 10 }, () => ({ channel: 'many', name: 'e', data: 'x'.repeat(10_000) }));
      for (let round = 0; round < 3; round++) assert.equal((await sdk.triggerBatch(events)).status, 200);
    });

    test('what a refused request is told comes through', async () => {
      const stranger = nodeSdk({ ...at(proxy), app: { ...proxy.app, secret: 'wrong' } }, proxy.sdkOptions);
      const refusal = await stranger.trigger('orders', 'e', {}).catch((error) => error);
      assert.equal(refusal.status, 401);
      assert.match(refusal.body, /signature/i);
    });

    // What the proxy sees counts. Limits for one address don't hold for our own, but would for the one that is claimed.
    if (!isLax) test('the scheme and address that a client claims are not passed on', async () => {
      const headers = { 'X-Forwarded-Proto': 'http', 'X-Forwarded-For': '203.0.113.7' };
      const sockets = [1, 2].map(() => socket(proxy.socketUrl(), { headers }));
      for (const opened of sockets) await established(opened);
      for (const opened of sockets) opened.terminate();
    });

    if (redirects) test('plain HTTP is sent to TLS with its method', async () => {
      const answer = await post(`http://127.0.0.1:${proxy.at.plainPort}/apps/1/events`);
      assert.equal(answer.statusCode, 308);
      assert.match(answer.headers.location, /^https:\/\/.*\/apps\/1\/events$/);
    });

    if (cuts) test('a socket that says nothing is cut', async () => {
      await within(behind.get(kind).quiet.closed, 'the proxy cuts the silent socket', 4_000 * TIMEOUT_S);
    });

    test('a page that only answers pings stays connected', async () => {
      const { idle, idleId, since } = behind.get(kind);
      await until(() => Date.now() - since > 2_000 * TIMEOUT_S, 'twice the time-out has passed');
      await sdk.trigger('private-idle', 'e', { kind });
      await idle.shows('events', 1);
      assert.equal(await idle.socketId(), idleId);
      await idle.close();
    });
  });
}

test('a scheme and an address are believed from trusted proxies only', async () => {
  const wary = await startResound({ config: `[server]\ntrusted_proxies = ["192.0.2.0/24"]\n${CONFIG}` });
  const proxy = await startProxy('nginx', wary, certificate);
  try {
    const claim = { headers: { 'X-Forwarded-Proto': 'https' } };
    assert.equal(await closeCode(socket(proxy.socketUrl())), 4000);
    assert.equal(await closeCode(socket(wary.socketUrl, claim)), 4000);
    assert.equal(await closeCode(socket(server.socketUrl)), 4000);
    const address = { headers: { ...claim.headers, 'X-Forwarded-For': '203.0.113.7' } };
    const believed = socket(server.socketUrl, address);
    await established(believed);
    assert.equal(await closeCode(socket(server.socketUrl, address)), 4100);
    believed.terminate();
  } finally {
    await proxy.stop();
    await wary.stop();
  }
});

function at({ host, port }) {
  return { host, port };
}

function socket(url, options = {}) {
  const opened = new WebSocket(url, { ca: certificate.text, ...options });
  // a socket that is cut or refused also tells of it by 'close'
  opened.on('error', () => {});
  opened.first = once(opened, 'message');
  return opened;
}

async function established(opened) {
  const closed = once(opened, 'close').then(([code, reason]) => {
    throw new Error(`closed with ${code} ${reason}`);
  });
  const [data] = await within(Promise.race([opened.first, closed]), 'a first message');
  closed.catch(() => {});
  assert.equal(JSON.parse(data).event, 'pusher:connection_established');
}

async function closeCode(opened) {
  const [code] = await within(once(opened, 'close'), 'the socket is closed');
  return code;
}

function post(url) {
  return within(
    new Promise((resolve, reject) => {
      const sent = request(url, { method: 'POST' }, (answer) => {
        answer.resume();
        resolve(answer);
      });
      sent.once('error', reject).end('{}');
    }),
    `an answer from ${url}`,
  );
}
