// A recording proxy: passes WebSocket text messages and HTTP requests on to a server, and keeps them as the
// steps of a fixture, with placeholders where a run differs from the next.
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import { RawJson } from './format.mjs';

// The libraries are those of the client tests.
const require = createRequire(new URL('../../tests/clients/package.json', import.meta.url));
const { WebSocket, WebSocketServer } = require('ws');

const CONNECTION_HEADERS = /^(host|connection|upgrade|content-length|transfer-encoding|keep-alive|sec-websocket-(key|version|extensions|protocol))$/i;
const KEPT_RESPONSE_HEADERS = ['content-type', 'allow'];

export class RecordingProxy {
  constructor(server) {
    this.server = server;
    this.app = server.app;
    this.host = '127.0.0.1';
    this.steps = [];
    this.recording = true;
    this.socketIds = new Map();
    this.forgeries = new Map();
    this.sockets = [];
    this.http = http.createServer((request, response) => this.exchange(request, response));
    // Refuse compression, as the server does: it would not be part of the recording.
    this.upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    this.http.on('upgrade', (request, socket, head) =>
      this.upgrades.handleUpgrade(request, socket, head, (client) => this.connect(client, request)),
    );
  }

  async start() {
    this.http.listen(0, this.host);
    await once(this.http, 'listening');
    this.port = this.http.address().port;
    return this;
  }

  async stop() {
    this.recording = false;
    for (const socket of this.sockets) socket.terminate();
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, 'close');
  }

  /** The steps so far, in an order that doesn't depend on which of two connections was faster. */
  conversation() {
    const steps = [];
    let run = [];
    const flush = () => {
      steps.push(...run.sort((a, b) => a.on.localeCompare(b.on)));
      run = [];
    };
    for (const step of this.steps) {
      if (step.receive || step.closed) run.push(step);
      else {
        flush();
        steps.push(step);
      }
    }
    flush();
    return steps;
  }

  record(step) {
    if (this.recording) this.steps.push(step);
    return step;
  }

  connect(client, request) {
    const on = String.fromCharCode('a'.charCodeAt(0) + this.sockets.length / 2);
    const headers = ownHeaders(request);
    const upstream = new WebSocket(`ws://${this.server.host}:${this.server.port}${request.url}`, {
      headers,
      perMessageDeflate: false,
    });
    this.sockets.push(client, upstream);
    const shown = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, this.withoutPort(value)]));
    this.record({ on, connect: { path: request.url, ...(Object.keys(shown).length && { headers: shown }) } });
    const opened = once(upstream, 'open');
    client.on('message', async (data) => {
      const text = String(data);
      this.record({ on, send: new RawJson(this.sent(on, text)) });
      await opened;
      upstream.send(text);
    });
    upstream.on('message', (data) => {
      const text = String(data);
      this.record({ on, receive: this.received(on, JSON.parse(text)) });
      client.send(text);
    });
    // Who closes first: a server's close frame takes its socket out of OPEN before the client can react.
    let ended = false;
    client.on('close', (code, reason) => {
      if (ended || upstream.readyState !== WebSocket.OPEN) return;
      ended = true;
      this.record({ on, close: code });
      closeLike(upstream, code, reason);
    });
    upstream.on('close', (code, reason) => {
      if (ended) return;
      ended = true;
      this.record({ on, closed: { code, reason: String(reason) } });
      closeLike(client, code, reason);
    });
    upstream.on('error', () => client.terminate());
    client.on('error', () => {});
  }

  /** This proxy's port is another one in each recording. */
  withoutPort(value) {
    return value.replaceAll(`${this.host}:${this.port}`, this.host);
  }

  sent(on, text) {
    const message = JSON.parse(text);
    const signature = message.data?.auth?.split(':')[1];
    if (!signature) return this.withSocketIds(text);
    const signed = `${this.socketIds.get(on)}:${signedPart(message)}`;
    const right = createHmac('sha256', this.app.secret).update(signed).digest('hex');
    const shown = signature === right ? '{{signature}}' : this.forgery(signature);
    return this.withSocketIds(text.replace(signature, shown));
  }

  /** A wrong signature keeps its shape but not its digits, which differ with every socket id. */
  forgery(signature) {
    if (!this.forgeries.has(signature)) {
      this.forgeries.set(signature, String(this.forgeries.size + 1).padStart(64, '0'));
    }
    return this.forgeries.get(signature);
  }

  received(on, frame) {
    if (frame.event === 'pusher:connection_established') {
      this.socketIds.set(on, JSON.parse(frame.data).socket_id);
    }
    return sortMembers(JSON.parse(this.withSocketIds(JSON.stringify(frame))));
  }

  withSocketIds(text) {
    for (const [on, id] of this.socketIds) text = text.replaceAll(id, `{{socket_id:${on}}}`);
    for (const [signature, shown] of this.forgeries) text = text.replaceAll(signature, shown);
    return text;
  }

  async exchange(request, response) {
    const body = await readAll(request);
    const [pathname, query = ''] = request.url.split('?');
    const step = this.record({ request: this.request(request, pathname, query, body) });
    const answer = await forward(this.server, request, body);
    const text = String(answer.body);
    const headers = Object.fromEntries(
      KEPT_RESPONSE_HEADERS.filter((name) => name in answer.headers).map((name) => [name, answer.headers[name]]),
    );
    const isJson = headers['content-type'] === 'application/json';
    const recorded = { response: { status: answer.status, headers, body: isJson ? withoutClock(JSON.parse(text)) : text } };
    // Directly after its request, whatever came in between on a socket.
    if (this.recording) this.steps.splice(this.steps.indexOf(step) + 1, 0, recorded);
    response.writeHead(answer.status, { ...answer.headers, connection: 'close' });
    response.end(answer.body);
  }

  request({ method, rawHeaders }, pathname, query, body) {
    const shown = this.withSocketIds(String(body));
    const isSame = shown === String(body);
    const md5 = createHash('md5').update(body).digest('hex');
    const shownQuery = query
      .replace(/(?<=auth_timestamp=)\d+/, '{{timestamp}}')
      .replace(/(?<=auth_signature=)[0-9a-f]+/, '{{signature}}')
      .replace(/(?<=body_md5=)[0-9a-f]+/, (value) => (value === md5 && isSame ? value : '{{body_md5}}'));
    const headers = ownHeaders({ rawHeaders });
    return { method, path: pathname, query: shownQuery, headers, ...(body.length && { body: shown }) };
  }
}

/** What is signed of a sign-in or a subscription, after the socket id. */
function signedPart({ event, data: { user_data, channel, channel_data } }) {
  if (event === 'pusher:signin') return `:user::${user_data}`;
  return channel_data ? `${channel}:${channel_data}` : channel;
}

/** The client's own headers, in its own spelling, without those every connection has. */
function ownHeaders({ rawHeaders }) {
  const pairs = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i], rawHeaders[i + 1]]);
  return Object.fromEntries(pairs.filter(([name]) => !CONNECTION_HEADERS.test(name)));
}

/** Members may come in any order (P-4); the recording has them sorted. */
function sortMembers(frame) {
  if (frame.event !== 'pusher_internal:subscription_succeeded' || frame.data === '{}') return frame;
  const { presence } = JSON.parse(frame.data);
  const ids = presence.ids.toSorted();
  const hash = Object.fromEntries(ids.map((id) => [id, presence.hash[id]]));
  return { ...frame, data: JSON.stringify({ presence: { ...presence, ids, hash } }) };
}

/** The seconds a cached event has left are the only thing in an answer that the clock decides. */
function withoutClock(body) {
  if (body?.cache?.ttl === undefined) return body;
  return { ...body, cache: { ...body.cache, ttl: '{{integer}}' } };
}

function closeLike(socket, code, reason) {
  if (code === 1005 || code === 1006) socket.close();
  else socket.close(code, reason);
}

async function forward(server, { method, url, rawHeaders }, body) {
  const headers = { ...ownHeaders({ rawHeaders }), 'content-length': body.length };
  const request = http.request({ host: server.host, port: server.port, method, path: url, headers, agent: false });
  request.end(body);
  const [response] = await once(request, 'response');
  return { status: response.statusCode, headers: response.headers, body: await readAll(response) };
}

async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
