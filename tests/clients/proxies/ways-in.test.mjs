// The other ways from a proxy to Resound: a Unix socket, and the PROXY protocol. The files of packaging/proxies have both as
// lines that are commented out.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { nodeSdk } from '../lib/backend.mjs';
import { makeCertificate, startProxy } from '../lib/proxies.mjs';
import { startResound } from '../lib/resound.mjs';
import { Inbox, within } from '../lib/wait.mjs';

let certificate;
before(() => {
  certificate = makeCertificate();
});
after(() => certificate?.remove());

/** A socket and the SDK, both through the proxy: an app with require_tls, an event that comes. */
async function works(proxy) {
  const socket = connect(proxy.socketUrl());
  const sdk = nodeSdk(proxy, proxy.sdkOptions);
  try {
    await socket.messages.find(({ event }) => event === 'pusher:connection_established');
    socket.send(JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'news' } }));
    await socket.messages.find(({ event }) => event === 'pusher_internal:subscription_succeeded');
    assert.equal((await sdk.trigger('news', 'e', { text: 'x'.repeat(9_000) })).status, 200);
    await socket.messages.find(({ event }) => event === 'e');
  } finally {
    socket.terminate();
  }
}

function connect(url) {
  const socket = new WebSocket(url, { ca: certificate.text });
  socket.on('error', () => {});
  socket.messages = new Inbox('messages');
  socket.on('message', (data) => socket.messages.push(JSON.parse(data)));
  return socket;
}

describe('by a Unix socket', () => {
  const LINES = {
    nginx: ['server 127.0.0.1:8080;', 'server unix:/run/resound/resound.sock;'],
    haproxy: ['server resound1 127.0.0.1:8080 check inter 2s', 'server resound1 unix@/run/resound/resound.sock check inter 2s'],
    apache: [
      'ProxyPass / http://127.0.0.1:8080/ upgrade=websocket timeout=60',
      'ProxyPass / unix:/run/resound/resound.sock|http://localhost/ upgrade=websocket timeout=60',
    ],
    caddy: ['reverse_proxy 127.0.0.1:8080', 'reverse_proxy unix//run/resound/resound.sock'],
  };
  let folder, socket, server;
  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'resound-socket-'));
    // Apache's workers run as another user.
    chmodSync(folder, 0o755);
    socket = path.join(folder, 'resound.sock');
    const config = `[server]\nunix_socket = "${socket}"\nunix_socket_mode = "0666"\n[app_defaults]\nrequire_tls = true`;
    server = await startResound({ config });
  });
  after(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [kind, instead] of Object.entries(LINES)) {
    test(kind, async () => {
      const proxy = await startProxy(kind, server, certificate, { instead, socket });
      try {
        await works(proxy);
      } finally {
        await proxy.stop();
      }
    });
  }
});

describe('by the PROXY protocol', () => {
  const INSTEAD = [
    'server resound1 127.0.0.1:8080 check inter 2s',
    'server resound1 127.0.0.1:8080 check inter 2s send-proxy-v2-ssl check-send-proxy',
  ];
  // Without the header the protocol alone can tell of TLS.
  const edits = [['    http-request set-header X-Forwarded-Proto https\n', '']];
  const config = '[server]\nproxy_protocol = true\n[app_defaults]\nrequire_tls = true';

  test('HAProxy says that the client speaks TLS', async () => {
    const server = await startResound({ config, aside: true });
    const proxy = await startProxy('haproxy', server, certificate, { instead: INSTEAD, edits });
    try {
      await works(proxy);
    } finally {
      await proxy.stop();
      await server.stop();
    }
  });

  test('without it HAProxy gets no further than its health check', async () => {
    const server = await startResound({ config, aside: true });
    const proxy = await startProxy('haproxy', server, certificate, {});
    try {
      const [, response] = await within(once(connect(proxy.socketUrl()), 'unexpected-response'), 'a refusal');
      assert.ok([400, 502, 503].includes(response.statusCode), `${response.statusCode}`);
    } finally {
      await proxy.stop();
      await server.stop();
    }
  });
});
