// Sends the recorded requests of real Laravel backends (compat-fixtures/php) to a running server.
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';

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
