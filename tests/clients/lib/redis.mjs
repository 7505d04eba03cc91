// Starts a redis-server of the test's own on a free port of the loopback address.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { freePort } from './resound.mjs';
import { until } from './wait.mjs';

export async function startRedis() {
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--daemonize', 'no'];
  const server = spawn('redis-server', options, { cwd: tmpdir(), stdio: 'ignore' });
  let ended;
  const gone = new Promise((resolve) => {
    for (const event of ['exit', 'error']) server.once(event, (reason) => resolve((ended = reason ?? 'a signal')));
  });
  await until(
    () => {
      if (ended !== undefined) throw new Error(`redis-server, of Debian's package of that name, ended at start: ${ended}`);
      return listens(port);
    },
    'redis-server listens',
  );
  return {
    url: `redis://127.0.0.1:${port}/0`,
    async stop() {
      server.kill('SIGKILL');
      await gone;
    },
  };
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
