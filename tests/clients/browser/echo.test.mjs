// Laravel Echo in headless Chromium: what a user sees in the page when the Node, Python and PHP SDKs publish.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nodeSdk, startBackend } from '../lib/backend.mjs';
import { launchBrowser, openTab } from '../lib/browser.mjs';
import { channelKinds, isCacheKind } from '../lib/payloads.mjs';
import { phpRequest, phpRequestOn, sendPhp } from '../lib/php.mjs';
import { runPython } from '../lib/python.mjs';
import { MASTER_KEY_BASE64, startResound } from '../lib/resound.mjs';
import { until } from '../lib/wait.mjs';

// The app of the recorded PHP requests, so that they fit this server.
const { app } = phpRequest('l12-public');
const VARIANTS = ['2', '1'].flatMap((echo) => ['reverb', 'pusher'].map((broadcaster) => ({ echo, broadcaster })));

let browser;
before(async () => {
  browser = await launchBrowser();
});
after(() => browser?.close());

for (const variant of VARIANTS) {
  describe(`Echo ${variant.echo} (${variant.broadcaster}) in Chromium`, () => {
    let server, backend, context, sdk;
    const tab = (user) => openTab(context, server, backend, { ...variant, user });

    before(async () => {
      server = await startResound({ app });
      backend = await startBackend(server);
      context = await browser.newContext();
      sdk = nodeSdk(server);
    });
    after(async () => {
      await context?.close();
      await backend?.stop();
      await server?.stop();
    });

    test('events of all three SDKs are shown on every channel kind', async () => {
      const channels = channelKinds('shown');
      const page = await tab('ann');
      for (const channel of channels) assert.ok(await page.listen(channel, ['.node', '.python', '.php']), channel);

      for (const channel of channels) await sdk.trigger(channel, 'node', { from: 'Node', text: 'Žofie 🚀' });
      await triggerByPython(server, channels, 'python', { from: 'Python', text: 'Žofie 🚀' });
      for (const channel of channels) await sendPhp(server, phpRequestOn(channel, 'php', { from: 'PHP', text: 'Žofie 🚀' }));

      const shown = await page.shows('events', 3 * channels.length);
      const expected = [['.node', 'Node'], ['.python', 'Python'], ['.php', 'PHP']].flatMap(([event, from]) =>
        channels.map((channel) => ({ channel, event, data: { from, text: 'Žofie 🚀' } })),
      );
      assert.deepEqual(shown, expected);
      await page.close();
    });

    test('recorded requests of Laravel are shown as they were sent', async () => {
      const page = await tab('ann');
      await page.listen('lab-public', ['PublicPing', '.PublicPing']);
      await page.listen('private-orders.42', ['.order.shipped']);
      await page.listen('private-encrypted-vault.1', ['Sealed']);
      await page.listen('presence-room.7', ['PresenceMessage']);
      for (const name of ['l12-public', 'l12-private', 'l12-encrypted', 'l12-presence', 'l8-pusher4-public']) {
        await sendPhp(server, phpRequest(name));
      }
      const shown = await page.shows('events', 5);
      assert.deepEqual(shown.map(({ channel, event }) => [channel, event]), [
        ['lab-public', 'PublicPing'],
        ['private-orders.42', '.order.shipped'],
        ['private-encrypted-vault.1', 'Sealed'],
        ['presence-room.7', 'PresenceMessage'],
        ['lab-public', '.PublicPing'],
      ]);
      assert.deepEqual(shown[1].data, { id: 42, state: 'shipped' });
      assert.equal(shown[0].data.text, 'héllo / "wörld" <b>&</b>');
      assert.deepEqual(shown[0].data.emptyObject, {});
      await page.close();
    });

    test('the same user in two tabs is one member', async () => {
      const ann = await tab('ann');
      await ann.listen('presence-lobby');
      await ann.showsMembers(['ann']);
      const [bobOne, bobTwo] = [await tab('bob'), await tab('bob')];
      for (const page of [bobOne, bobTwo]) {
        await page.listen('presence-lobby');
        await page.showsMembers(['ann', 'bob']);
      }
      await ann.showsMembers(['ann', 'bob']);

      await bobOne.close();
      // Cid comes after Bob's first tab has gone: had Bob left with it, Ann would see that by then.
      await until(async () => (await count(sdk, 'presence-lobby')) === 2, 'the closed tab is gone');
      const cid = await tab('cid');
      await cid.listen('presence-lobby');
      await ann.showsMembers(['ann', 'bob', 'cid']);
      await bobTwo.close();
      await ann.showsMembers(['ann', 'cid']);
      await cid.showsMembers(['ann', 'cid']);
      await Promise.all([ann.close(), cid.close()]);
    });

    test('whispers are shown in the other tabs only', async () => {
      for (const channel of ['private-chat', 'presence-chat']) {
        const tabs = [await tab('ann'), await tab('ann'), await tab('bob')];
        for (const page of tabs) await page.listen(channel);
        await tabs[0].whisper(channel, { text: 'Žofie tippt' });
        const whisper = { channel, whisper: { text: 'Žofie tippt' } };
        for (const page of tabs.slice(1)) assert.deepEqual(await page.shows('events', 1), [whisper]);
        // The mark: it comes to the whispering tab after anything that came back to it.
        await sdk.trigger(channel, 'e', { mark: true });
        assert.deepEqual(await tabs[0].shows('events', 1), [{ channel, event: '.e', data: { mark: true } }]);
        await Promise.all(tabs.map((page) => page.close()));
      }
    });

    test('toOthers spares the tab that caused the event', async () => {
      const [cause, other] = [await tab('ann'), await tab('ann')];
      for (const page of [cause, other]) await page.listen('private-orders.42', ['.order.shipped', '.e']);
      await sendPhp(server, phpRequest('l12-toothers-private'), { socketId: await cause.socketId() });
      await sdk.trigger('private-orders.42', 'e', { mark: true });
      assert.deepEqual((await other.shows('events', 2)).map(({ event }) => event), ['.order.shipped', '.e']);
      assert.deepEqual((await cause.shows('events', 1)).map(({ event }) => event), ['.e']);
      await Promise.all([cause.close(), other.close()]);
    });

    test('a refused and a forged auth are shown as errors', async () => {
      const page = await tab('ann');
      assert.equal(await page.listen('private-forbidden'), false);
      assert.equal(await page.listen('private-forged'), false);
      assert.deepEqual(await page.shown('errors'), [
        { channel: 'private-forbidden', status: 403 },
        { channel: 'private-forged', status: 401 },
      ]);
      await page.close();
    });

    test('a tab that comes later is shown the cached event', async () => {
      const page = await tab('ann');
      const channels = channelKinds('later').filter(isCacheKind);
      for (const channel of channels) {
        await sdk.trigger(channel, 'e', { price: 1 });
        await page.listen(channel);
      }
      const shown = await page.shows('events', channels.length);
      assert.deepEqual(shown, channels.map((channel) => ({ channel, event: '.e', data: { price: 1 } })));
      await page.close();
    });
  });
}

test('after a restart of the server the page shows events again', async () => {
  const server = await startResound({ app });
  const backend = await startBackend(server);
  const context = await browser.newContext();
  try {
    const page = await openTab(context, server, backend, { ...VARIANTS[0], user: 'ann' });
    for (const channel of ['back', 'private-back', 'presence-back']) await page.listen(channel);
    await server.restart();
    const sdk = nodeSdk(server);
    await until(async () => (await count(sdk, 'presence-back')) === 1, 'the page is back', 45_000);
    await sdk.trigger(['back', 'private-back', 'presence-back'], 'e', { n: 1 });
    assert.deepEqual((await page.shows('events', 3)).map(({ data }) => data), [{ n: 1 }, { n: 1 }, { n: 1 }]);
    await page.showsMembers(['ann']);
  } finally {
    await context.close();
    await backend.stop();
    await server.stop();
  }
});

async function triggerByPython({ app: credentials, host, port }, channels, event, data) {
  const calls = channels.map((channel) => ({ method: 'trigger', args: [channel, event, data] }));
  const answers = await runPython('server_sdk.py', { app: credentials, host, port, master_key: MASTER_KEY_BASE64, calls });
  assert.deepEqual(answers, channels.map(() => ({ ok: {} })));
}

async function count(sdk, channel) {
  const answer = await sdk.get({ path: `/channels/${channel}`, params: { info: 'subscription_count' } });
  return (await answer.json()).subscription_count;
}
