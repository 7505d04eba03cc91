// Starts real web servers with the files of packaging/proxies, each as a process of its own in a folder of its own, on free
// ports of the loopback address. The files are used as they are, but for names, ports, folders and time-outs.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './resound.mjs';
import { until, within } from './wait.mjs';

const FILES = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../packaging/proxies');
const START_ATTEMPTS = 5;
const IS_ROOT = process.getuid() === 0;
/** Seconds of silence after which these proxies cut a socket: 60 in the files, too long to wait for. */
export const TIMEOUT_S = 3;
const SOCKET = '/run/resound/resound.sock';
const ENV = { PATH: `${process.env.PATH}:/usr/sbin` };

export function packaged(name) {
  return readFileSync(path.join(FILES, name), 'utf8');
}

/** A certificate for localhost that signs itself: files for the proxies, `text` for who is to trust it. */
export function makeCertificate() {
  const folder = mkdtempSync(path.join(tmpdir(), 'resound-certificate-'));
  const [certificate, key, both] = ['both.crt', 'both.key', 'both.pem'].map((name) => path.join(folder, name));
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost',
      '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', certificate],
    { stdio: 'pipe' },
  );
  const text = readFileSync(certificate, 'utf8');
  writeFileSync(both, text + readFileSync(key, 'utf8'), { mode: 0o600 });
  return { certificate, key, both, text, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** `text` with every pair of `edits` replaced; one that isn't there is an error, so that test and file stay together. */
export function edited(text, edits) {
  return edits.reduce((before, [what, by]) => {
    if (!before.includes(what)) throw new Error(`the file has no ${JSON.stringify(what)} any more:\n${before}`);
    return before.replaceAll(what, by);
  }, text);
}

/** The packaged file; `at.instead`: a line to comment out, and one to bring in that is commented out. */
function chosen(name, at) {
  const text = packaged(name);
  if (!at.instead) return text;
  const [off, on] = at.instead;
  const line = text.split('\n').find((candidate) => candidate.trim() === off);
  if (!line) throw new Error(`${name} has no line ${off} any more`);
  return edited(text, [[`${line}\n`, `# ${line}\n`], [`# ${on}\n`, `${on}\n`], ...(at.socket ? [[SOCKET, at.socket]] : [])]);
}

/**
 * How each is made: `files` from ports, folder, certificate and `upstream` (the server behind, as host:port) or `socket` (its
 * Unix socket), `command` that runs in the foreground. `edits` replaces further parts of the packaged file.
 */
const KINDS = {
  nginx: {
    files: (at) => ({ 'proxy.conf': nginx(chosen('nginx.conf', at), at) }),
    command: nginxCommand,
  },
  /** The site of somebody's own, with the packaged location in it. */
  'nginx-location': {
    files: (at) => ({
      'resound.conf': edited(packaged('nginx-location.conf'), [['127.0.0.1:8080', at.upstream], ['read_timeout 60s', `read_timeout ${TIMEOUT_S}s`]]),
      'proxy.conf': nginxSite(at, `location / { return 404; } include ${at.folder}/resound.conf;`),
    }),
    command: nginxCommand,
  },
  /** What Laravel's documentation shows: `Connection: Upgrade` on every request. */
  'nginx-laravel': {
    files: (at) => ({
      'proxy.conf': nginxSite(
        at,
        `location / {
          proxy_http_version 1.1;
          proxy_set_header Host $http_host;
          proxy_set_header Scheme $scheme;
          proxy_set_header SERVER_PORT $server_port;
          proxy_set_header REMOTE_ADDR $remote_addr;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection "Upgrade";
          proxy_read_timeout ${TIMEOUT_S}s;
          proxy_pass http://${at.upstream};
        }`,
      ),
    }),
    command: nginxCommand,
  },
  haproxy: {
    files: (at) => ({
      'proxy.conf': edited(chosen('haproxy.cfg', at), [
        ['bind :80\n', `bind 127.0.0.1:${at.plainPort}\n`],
        ['bind :443 ', `bind 127.0.0.1:${at.port} `],
        ['/etc/ssl/ws.example.com.both.pem', at.certificate.both],
        ['127.0.0.1:8080', at.upstream],
        ['timeout tunnel 60s', `timeout tunnel ${TIMEOUT_S}s`],
        ['/dev/log local0', 'stderr format raw local0'],
        ['maxconn 60000', 'maxconn 200'],
        ...at.edits,
      ]),
    }),
    command: (at) => ['haproxy', '-db', '-f', `${at.folder}/proxy.conf`],
  },
  apache: {
    files: (at) => ({
      'resound.conf': edited(chosen('apache.conf', at), [
        ['<VirtualHost *:80>', `<VirtualHost 127.0.0.1:${at.plainPort}>`],
        ['<VirtualHost *:443>', `<VirtualHost 127.0.0.1:${at.port}>`],
        ['https://ws.example.com/', `https://localhost:${at.port}/`],
        ['/etc/ssl/ws.example.com.pem', at.certificate.certificate],
        ['/etc/ssl/ws.example.com.key', at.certificate.key],
        ['ServerName ws.example.com', 'ServerName localhost'],
        ['127.0.0.1:8080', at.upstream],
        ['Timeout 60', `Timeout ${TIMEOUT_S}`],
        ['timeout=60', `timeout=${TIMEOUT_S}`],
        ...at.edits,
      ]),
      'proxy.conf': apacheMain(at),
    }),
    command: (at) => ['apache2', '-D', 'FOREGROUND', '-f', `${at.folder}/proxy.conf`],
  },
  caddy: {
    files: (at) => ({
      'proxy.conf': `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${edited(chosen('Caddyfile', at), [
        ['ws.example.com {', `https://localhost:${at.port} {\n\tbind 127.0.0.1`],
        ['# tls /etc/ssl/ws.example.com.pem /etc/ssl/ws.example.com.key', `tls ${at.certificate.certificate} ${at.certificate.key}`],
        ['127.0.0.1:8080', at.upstream],
        ...at.edits,
      ])}`,
    }),
    command: (at) => ['caddy', 'run', '--config', `${at.folder}/proxy.conf`, '--adapter', 'caddyfile'],
  },
};

function nginxCommand(at) {
  return ['nginx', '-p', at.folder, '-c', `${at.folder}/proxy.conf`, '-e', 'stderr'];
}

function nginx(text, at) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${at.folder}/${kind};`);
  return `daemon off;\n${edited(text, [
    ['user www-data;', IS_ROOT ? 'user root;' : ''],
    ['/run/nginx.pid', `${at.folder}/nginx.pid`],
    ['worker_processes auto', 'worker_processes 1'],
    ['worker_rlimit_nofile 131072;', ''],
    ['worker_connections 65536', 'worker_connections 200'],
    ['access_log /var/log/nginx/access.log;', `access_log off; ${temporary.join(' ')}`],
    ['/var/log/nginx/error.log', 'stderr'],
    ['listen 80;', `listen 127.0.0.1:${at.plainPort};`],
    ['listen 443 ', `listen 127.0.0.1:${at.port} `],
    ['ws.example.com;', 'localhost;'],
    ['/etc/ssl/ws.example.com.pem', at.certificate.certificate],
    ['/etc/ssl/ws.example.com.key', at.certificate.key],
    ['127.0.0.1:8080', at.upstream],
    ['read_timeout 60s', `read_timeout ${TIMEOUT_S}s`],
    ...at.edits,
  ])}`;
}

/** The packaged nginx.conf with `location` in place of its own. */
function nginxSite(at, location) {
  const text = packaged('nginx.conf');
  const own = /# Both \/app[^]*?\n        \}\n/.exec(text)?.[0];
  if (!own) throw new Error('nginx.conf has no location any more');
  return nginx(text.replace(own, () => `${location}\n# read_timeout 60s\n`), at);
}

function apacheMain(at) {
  const modules = ['mpm_event', 'authz_core', 'alias', 'socache_shmcb', 'ssl', 'headers', 'proxy', 'proxy_http'];
  return [
    ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
    `ServerRoot ${at.folder}`,
    `DefaultRuntimeDir ${at.folder}`,
    `PidFile ${at.folder}/apache.pid`,
    // Apache can't open a standard error that is a socket.
    'ErrorLog "|/bin/cat"',
    'ServerName localhost',
    IS_ROOT ? 'User www-data\nGroup www-data' : '',
    'StartServers 1',
    `Listen 127.0.0.1:${at.plainPort}`,
    `Listen 127.0.0.1:${at.port}`,
    `Include ${at.folder}/resound.conf`,
    '',
  ].join('\n');
}

/**
 * Starts the proxy of that kind in front of `server`. `instead` takes a line of its file that is commented out for another
 * one, `socket` is the server's Unix socket, `edits` replaces further parts.
 */
export async function startProxy(kind, server, certificate, { instead, socket, edits = [], path: below = '' } = {}) {
  const upstream = `${server.host}:${server.port}`;
  for (let attempt = 1; ; attempt++) {
    const at = { upstream, instead, socket, edits, certificate, port: await freePort(), plainPort: await freePort() };
    const proxy = new Proxy(kind, server.app, at, below);
    try {
      await proxy.start();
      return proxy;
    } catch (error) {
      await proxy.stop();
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

class Proxy {
  constructor(kind, app, at, below) {
    this.kind = kind;
    this.app = app;
    this.at = at;
    // What clients and SDKs ask of a server.
    this.host = 'localhost';
    this.port = at.port;
    this.tls = true;
    this.path = below;
    this.log = '';
  }

  /** The address of `app`'s sockets, this one's unless told otherwise. */
  socketUrl(app = this.app) {
    return `wss://${this.host}:${this.port}${this.path}/app/${app.key}?protocol=7&client=test&version=1.0`;
  }

  /** What makes the Node SDK post through here: by TLS, trusting our certificate, below our path. */
  get sdkOptions() {
    // The SDK has no option for a path; PHP's has, and neither signs it.
    const below = this.path && { host: `${this.host}:${this.port}${this.path}`, port: undefined };
    return { useTLS: true, agent: new https.Agent({ ca: this.at.certificate.text, keepAlive: true }), ...below };
  }

  async start() {
    this.exited = false;
    this.folder = mkdtempSync(path.join(tmpdir(), `resound-${this.kind}-`));
    this.at.folder = this.folder;
    for (const [name, text] of Object.entries(KINDS[this.kind].files(this.at))) writeFileSync(path.join(this.folder, name), text);
    const [program, ...options] = KINDS[this.kind].command(this.at);
    this.process = spawn(program, options, {
      cwd: this.folder,
      env: { ...ENV, HOME: this.folder, XDG_DATA_HOME: this.folder, XDG_CONFIG_HOME: this.folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const note = (chunk) => void (this.log += chunk);
    this.process.stdout.on('data', note);
    this.process.stderr.on('data', note);
    this.gone = new Promise((resolve) => {
      const end = (cause) => {
        if (cause instanceof Error) this.log += `${cause.message}; run install.sh`;
        this.exited = true;
        resolve();
      };
      this.process.once('exit', end).once('error', end);
    });
    await until(
      () => {
        if (this.exited) throw new Error(`${this.kind} ended at start:\n${this.log}`);
        return answers(this.port, this.at.certificate.text);
      },
      () => `${this.kind} answers; it said:\n${this.log}`,
    );
  }

  async stop() {
    try {
      if (!this.process || this.exited) return;
      this.process.kill('SIGTERM');
      await within(this.gone, `${this.kind} ends after SIGTERM; it said:\n${this.log}`);
    } catch (error) {
      this.process.kill('SIGKILL');
      await this.gone;
      throw error;
    } finally {
      if (this.folder) rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/** Whether anything is answered by TLS on that port. */
function answers(port, ca) {
  return new Promise((resolve) => {
    const request = https.get({ host: 'localhost', port, ca, agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(true);
    });
    request.once('timeout', () => request.destroy()).once('error', () => resolve(false));
  });
}
