// Starts, stops and restarts the real server binary on a free port of the loopback address.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from './wait.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const START_ATTEMPTS = 5;

// An app id of digits only, because the Python SDK takes no other.
export const APP = { id: '482915', key: 'client-tests-key', secret: 'client-tests-secret' };
/** Key for encrypted channels, shared by the server SDKs and the auth endpoint: 32 bytes. */
export const MASTER_KEY_BASE64 = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';

export function binary() {
  const candidates = process.env.RESOUND_BIN
    ? [process.env.RESOUND_BIN]
    : ['target/release/resound', 'target/debug/resound'];
  const found = candidates.map((file) => path.resolve(ROOT, file)).find((file) => existsSync(file));
  if (!found) throw new Error(`no server binary (${candidates.join(', ')}): build one with cargo build, or set RESOUND_BIN`);
  return found;
}

/** A port below the range the kernel hands out itself, so that no outgoing connection takes it between stop and restart. */
export async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const probe = net.createServer();
    const free = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/**
 * Starts a server of its own for one test; `env` adds settings, `app` replaces the credentials, `config` is a settings file's text.
 * `aside`: with a second, plain port that tells whether it is up, where the first takes more than HTTP.
 */
export async function startResound({ app = APP, env = {}, config = '', aside = false } = {}) {
  const file = binary();
  for (let attempt = 1; ; attempt++) {
    const plainPort = aside ? await freePort() : undefined;
    const all = aside ? { ...env, RESOUND_SERVER_PLAIN_PORT: String(plainPort) } : env;
    const server = new Resound(file, app, all, config, await freePort(), plainPort);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.stop();
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

class Resound {
  constructor(file, app, env, config, port, plainPort = port) {
    this.file = file;
    this.app = app;
    this.env = env;
    this.config = config;
    this.host = '127.0.0.1';
    this.port = port;
    this.plainPort = plainPort;
    this.log = '';
  }

  get url() {
    return `http://${this.host}:${this.port}`;
  }

  /** The address a plain WebSocket client connects to. */
  get socketUrl() {
    return `ws://${this.host}:${this.port}/app/${this.app.key}?protocol=7&client=test&version=1.0`;
  }

  async start() {
    this.exited = false;
    this.folder ??= mkdtempSync(path.join(tmpdir(), 'resound-'));
    const settings = path.join(this.folder, 'resound.toml');
    writeFileSync(settings, this.config);
    const options = ['--config', settings, '--host', this.host, '--port', String(this.port)];
    this.process = spawn(this.file, options, {
      cwd: tmpdir(),
      // Nothing of the caller's environment: a developer's REVERB_* must not reach the tests.
      env: {
        PATH: process.env.PATH,
        REVERB_APP_ID: this.app.id,
        REVERB_APP_KEY: this.app.key,
        REVERB_APP_SECRET: this.app.secret,
        ...this.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const note = (chunk) => void (this.log += chunk);
    this.process.stdout.on('data', note);
    this.process.stderr.on('data', note);
    this.gone = new Promise((resolve) => {
      const end = () => {
        this.exited = true;
        resolve();
      };
      this.process.once('exit', end).once('error', end);
    });
    await until(
      async () => {
        if (this.exited) throw new Error(`the server ended at start:\n${this.log}`);
        return (await status(`http://${this.host}:${this.plainPort}/up`)) === 200;
      },
      () => `the server answers /up; it said:\n${this.log}`,
    );
  }

  /** Ends the process the way an operator does; one that doesn't end is killed and reported. */
  async stop() {
    if (this.exited) return;
    this.process.kill('SIGTERM');
    try {
      await within(this.gone, `the server ends after SIGTERM; it said:\n${this.log}`, 15_000);
    } catch (error) {
      this.process.kill('SIGKILL');
      await this.gone;
      throw error;
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
      this.folder = undefined;
    }
  }

  async restart() {
    await this.stop();
    await this.start();
  }
}

function status(url) {
  return new Promise((resolve) => {
    const request = http.get(url, { agent: false }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode));
    });
    request.once('error', () => resolve(0));
  });
}
