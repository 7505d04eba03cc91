// The web application's side of the tests: the auth endpoints Echo calls, and the pages the browser loads.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { MASTER_KEY_BASE64 } from './resound.mjs';

const require = createRequire(import.meta.url);
const Pusher = require('pusher');
const CLIENTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** The Node server SDK, pointed at `server` (any object with app, host and port). */
export function nodeSdk(server, options = {}) {
  return new Pusher({
    appId: server.app.id,
    key: server.app.key,
    secret: server.app.secret,
    host: server.host,
    port: String(server.port),
    useTLS: false,
    encryptionMasterKeyBase64: MASTER_KEY_BASE64,
    ...options,
  });
}

/**
 * Starts the backend. Who calls is told by the header `X-User` (Ann if there is none), whom they watch by
 * `X-Watchlist` (ids with commas between them); a channel with
 * `forbidden` in its name is refused, as Laravel does it: 403 with a JSON message.
 */
export async function startBackend(server) {
  const backend = new Backend(server);
  await backend.listen();
  return backend;
}

class Backend {
  constructor(server) {
    this.sdk = nodeSdk(server);
    /** every channel an auth was asked for, in order */
    this.asked = [];
    this.http = http.createServer((request, response) => this.answer(request, response));
  }

  async listen() {
    this.http.listen(0, '127.0.0.1');
    await once(this.http, 'listening');
    this.url = `http://127.0.0.1:${this.http.address().port}`;
  }

  async stop() {
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, 'close');
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, 'http://backend');
    if (request.method === 'GET') return sendFile(pathname, response);
    const form = new URLSearchParams(await readAll(request));
    const user = request.headers['x-user'] ?? 'ann';
    if (pathname === '/broadcasting/auth') return this.authorize(form, user, response);
    if (pathname === '/broadcasting/user-auth') {
      const watchlist = request.headers['x-watchlist']?.split(',');
      return sendJson(response, 200, this.sdk.authenticateUser(form.get('socket_id'), { id: user, watchlist }));
    }
    return sendJson(response, 404, { message: 'Not found.' });
  }

  authorize(form, user, response) {
    const channel = form.get('channel_name');
    this.asked.push(channel);
    if (channel.includes('forbidden')) return sendJson(response, 403, { message: '' });
    const member = channel.startsWith('presence-')
      ? { user_id: user, user_info: { id: user, name: `Name of ${user}` } }
      : undefined;
    // A forger's answer: well-formed, signed with a secret that isn't the app's.
    const sdk = channel.includes('forged')
      ? new Pusher({ appId: '1', key: this.sdk.config.token.key, secret: 'wrong', encryptionMasterKeyBase64: MASTER_KEY_BASE64 })
      : this.sdk;
    return sendJson(response, 200, sdk.authorizeChannel(form.get('socket_id'), channel, member));
  }
}

const PAGES = {
  '/': ['text/html; charset=utf-8', 'browser/page.html'],
  '/pusher.js': ['text/javascript; charset=utf-8', 'node_modules/pusher-js/dist/web/pusher-with-encryption.js'],
  '/pusher-7.js': ['text/javascript; charset=utf-8', 'node_modules/pusher-js-7/dist/web/pusher-with-encryption.js'],
  '/echo.js': ['text/javascript; charset=utf-8', 'node_modules/laravel-echo/dist/echo.iife.js'],
  '/echo-1.js': ['text/javascript; charset=utf-8', 'node_modules/laravel-echo-1/dist/echo.iife.js'],
};

function sendFile(pathname, response) {
  const page = PAGES[pathname];
  if (!page) return sendJson(response, 404, { message: 'Not found.' });
  const [type, file] = page;
  response.writeHead(200, { 'content-type': type });
  return response.end(readFileSync(path.join(CLIENTS, file)));
}

function sendJson(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function readAll(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
