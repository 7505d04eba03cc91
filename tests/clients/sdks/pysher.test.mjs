// Pysher, the Python client: signs for itself and pings before the server has said anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeSdk } from '../lib/backend.mjs';
import { spawnPython } from '../lib/python.mjs';
import { startResound } from '../lib/resound.mjs';

test('Pysher subscribes to public, private and presence channels and receives events', async () => {
  const server = await startResound();
  const channels = ['orders', 'private-orders', 'presence-orders'];
  const { app, host, port } = server;
  const client = spawnPython('pysher_client.py', { app, host, port, channels });
  try {
    await client.line('subscribed');
    for (const name of channels) await nodeSdk(server).trigger(name, 'e', { text: 'Žofie' });
    const seen = await client.ended();
    assert.deepEqual(seen, channels.map((name) => [name, '{"text":"Žofie"}']));
  } finally {
    client.kill();
    await server.stop();
  }
});
