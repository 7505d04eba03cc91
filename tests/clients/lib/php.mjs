// Sends the recorded requests of real Laravel backends (compat-fixtures/php) to a running server.
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import nacl from 'tweetnacl';
import { MASTER_KEY_BASE64 } from './resound.mjs';

const FOLDER = new URL('../../../compat-fixtures/php/', import.meta.url);

export function phpRequest(name) {
  const { client, app, steps } = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8'));
  return { client, app, request: steps.find((step) => step.request).request };
}

/** Stamps, signs and sends one recorded request; `socketId` replaces its placeholder for a connection. */
export async function sendPhp(server, { request, app }, { socketId } = {}) {
  const body = request.body?.replaceAll('{{socket_id:a}}', socketId) ?? '';
  const stamped = request.query
    .replace('{{timestamp}}', String(Math.floor(Date.now() / 1000)))
    .replace('{{body_md5}}', createHash('md5').update(body).digest('hex'));
  const parameters = [...new URLSearchParams(stamped)].filter(([key]) => key !== 'auth_signature').sort();
  const signed = [
    request.method,
    request.signed_path ?? request.path,
    parameters.map(([key, value]) => `${key}=${value}`).join('&'),
  ].join('\n');
  const signature = createHmac('sha256', app.secret).update(signed).digest('hex');
  const query = stamped.replace('{{signature}}', signature);
  const response = await fetch(`${server.url}${request.path}?${query}`, {
    method: request.method,
    headers: request.headers,
    ...(body && { body }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return JSON.parse(text);
}

/**
 * The recorded request for a private channel, made out to another channel, event and data: the way
 * pusher-http-php writes it, with the escapes of PHP's json_encode, and sealed on encrypted channels.
 */
export function phpRequestOn(channel, name, data) {
  const recorded = phpRequest('l12-private');
  const text = channel.startsWith('private-encrypted-') ? phpJson(seal(channel, phpJson(data))) : phpJson(data);
  const body = phpJson({ name, data: text, channel });
  const query = recorded.request.query.replace(/(?<=body_md5=)[^&]+/, '{{body_md5}}');
  return { ...recorded, request: { ...recorded.request, query, body } };
}

/** JSON as PHP writes it: slashes and everything outside ASCII escaped. */
function phpJson(value) {
  return JSON.stringify(value)
    .replaceAll('/', '\\/')
    .replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function seal(channel, text) {
  const secret = createHash('sha256').update(channel).update(Buffer.from(MASTER_KEY_BASE64, 'base64')).digest();
  const nonce = randomBytes(nacl.secretbox.nonceLength);
  const ciphertext = nacl.secretbox(Buffer.from(text), nonce, secret);
  return { nonce: nonce.toString('base64'), ciphertext: Buffer.from(ciphertext).toString('base64') };
}
