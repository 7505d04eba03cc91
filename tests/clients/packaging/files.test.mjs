// Whether the files of packaging/, the Dockerfile and the guides in docs/ fit each other and the binary: what a reader copies
// must be what is tested. That the settings they name exist is tested in tests/docs.rs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { binary, freePort, startResound } from '../lib/resound.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const read = (file) => readFileSync(path.join(ROOT, file), 'utf8');
const PACKAGED = readdirSync(path.join(ROOT, 'packaging'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(ROOT, path.join(entry.parentPath ?? entry.path, entry.name)));
/** What webhooks that wait are given at a stop. */
const WEBHOOKS_S = 5;

/** Seconds that a stop takes at the most. */
function stopMax(found) {
  return Number(found['server.drain_delay_s']) + Number(found['server.drain_deadline_s']) + WEBHOOKS_S;
}

function yaml(file) {
  return parseAllDocuments(read(file)).map((document) => {
    assert.deepEqual([document.errors, document.warnings], [[], []], file);
    return document.toJS();
  });
}

/** What `resound config` says is in force with just these variables. */
function settings(env) {
  const text = execFileSync(binary(), ['config'], { env, cwd: tmpdir(), encoding: 'utf8' });
  const found = text.matchAll(/^(\S+)\s+= (.*?)\s+# from (.*)$/gm);
  return Object.fromEntries([...found].map(([, key, value]) => [key, value.replace(/^"(.*)"$/, '$1')]));
}

/** `${NAME:-default}` as Compose replaces it. */
function interpolated(text, env) {
  return String(text).replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, name, otherwise) => env[name] || (otherwise ?? ''));
}

/** The variables a container of this service gets: the image's, then env_file's, then its own. */
function containerEnv(service, dotenv, envFile = {}) {
  const own = Object.entries(service.environment ?? {}).map(([name, value]) => [name, interpolated(value, dotenv)]);
  return { ...imageEnv(), ...envFile, ...Object.fromEntries(own) };
}

function imageEnv() {
  const [, line] = /^ENV (.*)$/m.exec(read('Dockerfile'));
  return Object.fromEntries(line.split(' ').map((pair) => pair.split('=')));
}

/** The ports inside the container that the service publishes. */
function publishedPorts(service, dotenv) {
  return service.ports.map((port) => interpolated(port, dotenv).split(':').at(-1));
}

describe('docs/proxies.md', () => {
  const text = read('docs/proxies.md');
  for (const file of PACKAGED.filter((name) => name.startsWith('packaging/proxies/'))) {
    test(`has ${file} word for word`, () => assert.ok(text.includes(`\n${read(file)}\`\`\`\n`)));
  }
});

test('YAML is well-formed', () => {
  const files = PACKAGED.filter((name) => /\.ya?ml$/.test(name));
  assert.ok(files.length >= 5, `${files}`);
  for (const file of files) assert.ok(yaml(file).every((document) => Object.keys(document).length > 0), file);
});

describe('Dockerfile', () => {
  const text = read('Dockerfile');
  test('its variables are settings and its ports the ones in use', () => {
    const found = settings(imageEnv());
    assert.equal(found['admin.host'], '0.0.0.0');
    const exposed = /^EXPOSE (.*)$/m.exec(text)[1].split(' ');
    assert.deepEqual(exposed, [found['server.port'], '6001', found['admin.port']]);
  });
  test('health check and entry point are commands of the binary', () => {
    for (const line of ['CMD ["/resound", "health"]', 'ENTRYPOINT ["/resound"]', 'COPY --from=build /resound /resound']) {
      assert.ok(text.includes(line), line);
    }
    execFileSync(binary(), ['health', '--help']);
  });
  test('copies files that exist', () => {
    for (const [, files] of text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) for (const file of files.split(' ')) assert.ok(readdirSync(ROOT).includes(file), file);
  });
});

test('without an app nobody reaches the container', () => assert.equal(settings(imageEnv())['server.host'], '127.0.0.1'));

describe("Sail's service", () => {
  const [{ services }] = yaml('packaging/docker-compose.sail.yml');
  const listening = (dotenv) => {
    const env = containerEnv(services.soketi, dotenv);
    const found = settings(env);
    assert.equal(found['server.host'], '0.0.0.0');
    assert.deepEqual([found['server.port'], found['admin.port']], publishedPorts(services.soketi, dotenv));
    assert.equal(services.soketi.healthcheck.test.at(-1), `http://localhost:${found['admin.port']}`);
    return found;
  };
  test('serves the app of .env', () => {
    const dotenv = { PUSHER_APP_ID: '482915', PUSHER_APP_KEY: 'my-key', PUSHER_APP_SECRET: 'my-secret', PUSHER_HOST: 'soketi' };
    const found = listening(dotenv);
    assert.deepEqual([found['apps.482915.id'], found['apps.482915.key']], ['482915', 'my-key']);
  });
  // What `sail:install` writes into .env, and soketi's own defaults without it.
  for (const dotenv of [{}, { PUSHER_APP_ID: 'app-id', PUSHER_APP_KEY: 'app-key', PUSHER_APP_SECRET: 'app-secret' }]) {
    test(`serves soketi's app with ${Object.keys(dotenv).length} variables in .env`, () => assert.equal(listening(dotenv)['apps.app-id.key'], 'app-key'));
  }
  test('answers its health check, which asks with HEAD', async () => {
    const admin = String(await freePort());
    const env = { ...containerEnv(services.soketi, {}), RESOUND_ADMIN_HOST: '127.0.0.1', SOKETI_METRICS_SERVER_PORT: admin };
    const server = await startResound({ env });
    try {
      for (const method of ['HEAD', 'GET']) {
        const url = services.soketi.healthcheck.test.at(-1).replace('localhost:9601', `127.0.0.1:${admin}`);
        assert.equal((await fetch(url, { method })).status, 200, method);
      }
    } finally {
      await server.stop();
    }
  });
  test('differs from what Sail writes in its image only', () => {
    const { image, ...others } = services.soketi;
    assert.equal(image, 'resound');
    assert.deepEqual(Object.keys(others), ['environment', 'ports', 'networks', 'healthcheck']);
    assert.deepEqual(others.healthcheck.test.slice(0, -1), ['CMD', 'wget', '--no-verbose', '--spider']);
    assert.match(read('Dockerfile'), /^COPY --from=build \/wget \/bin\/wget$/m);
  });
});

test("the Compose file serves Reverb's app of .env", () => {
  const [{ services }] = yaml('packaging/docker-compose.yml');
  const dotenv = {
    REVERB_APP_ID: '482915', REVERB_APP_KEY: 'my-key', REVERB_APP_SECRET: 'my-secret',
    REVERB_HOST: 'resound', REVERB_PORT: '8080', REVERB_SCHEME: 'http', REVERB_SERVER_PORT: '9999',
  };
  assert.equal(services.resound.env_file, '.env');
  const found = settings(containerEnv(services.resound, dotenv, dotenv));
  assert.deepEqual([found['server.port'], found['admin.port']], publishedPorts(services.resound, dotenv));
  assert.deepEqual([found['server.host'], found['apps.482915.key']], ['0.0.0.0', 'my-key']);
  assert.ok(parseInt(services.resound.stop_grace_period) > stopMax(found));
});

describe('the Kubernetes manifest', () => {
  const byKind = Object.fromEntries(yaml('packaging/kubernetes/resound.yaml').map((part) => [part.kind, part]));
  const { Deployment, Secret, Service, PodDisruptionBudget, Ingress } = byKind;
  const pod = Deployment.spec.template;
  const [container] = pod.spec.containers;
  const env = { ...imageEnv(), ...Secret.stringData, ...Object.fromEntries(container.env.map(({ name, value }) => [name, value])) };
  const portOf = (name) => container.ports.find((port) => port.name === name)?.containerPort;
  let server;
  before(async () => {
    // Its own ports may be taken here.
    server = await startResound({ app: appOf(Secret.stringData), env: { ...env, RESOUND_ADMIN_HOST: '127.0.0.1', RESOUND_ADMIN_PORT: '0' } });
  });
  after(() => server?.stop());

  test('its ports are those of its settings', () => {
    const found = settings(env);
    assert.deepEqual([found['server.host'], found['admin.host']], ['0.0.0.0', '0.0.0.0']);
    assert.deepEqual([String(portOf('http')), String(portOf('metrics'))], [found['server.port'], found['admin.port']]);
    for (const { port, targetPort } of Service.spec.ports) assert.equal(portOf(targetPort), port);
    assert.equal(pod.metadata.annotations['prometheus.io/port'], found['admin.port']);
    const backend = Ingress.spec.rules[0].http.paths[0].backend.service;
    assert.ok(Service.metadata.name === backend.name && Service.spec.ports.some(({ name }) => name === backend.port.name));
  });

  test('what selects pods selects these', () => {
    const { labels } = pod.metadata;
    const selectors = [Deployment.spec.selector.matchLabels, Service.spec.selector, PodDisruptionBudget.spec.selector.matchLabels];
    for (const selector of selectors) assert.deepEqual(selector, labels);
    assert.equal(container.envFrom[0].secretRef.name, Secret.metadata.name);
  });

  test('its probes are answered', async () => {
    for (const probe of ['livenessProbe', 'readinessProbe']) {
      assert.equal(portOf(container[probe].httpGet.port), 8080);
      assert.equal((await fetch(server.url + container[probe].httpGet.path)).status, 200, probe);
    }
  });

  test('a pod has time enough to stop', () => {
    const pause = container.lifecycle.preStop.sleep.seconds;
    assert.ok(pod.spec.terminationGracePeriodSeconds > pause + stopMax(settings(env)));
  });
});

test('Supervisor runs a command of the binary and waits for its end', () => {
  const text = read('packaging/supervisor/resound.conf');
  const value = (name) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)[1];
  const [program, ...words] = value('command').split(' ');
  assert.equal(program, '/usr/local/bin/resound');
  execFileSync(binary(), [...words, '--host=127.0.0.1', '--port=8080', '--path=/ws', '--hostname=example.com', '--debug', '--help']);
  assert.ok(Number(value('stopwaitsecs')) > stopMax(settings({})));
});

function appOf({ REVERB_APP_ID: id, REVERB_APP_KEY: key, REVERB_APP_SECRET: secret }) {
  return { id, key, secret };
}
