// Headless Chromium: Debian's, driven by playwright-core. A page is a tab of one browser.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { until } from './wait.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launchBrowser() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath}: run install.sh, or set CHROMIUM`);
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/**
 * A tab with the test page, where Echo connects to `server` as `user`. `server` is anything with app, host and port; one
 * that speaks TLS says `tls`, one below a path `path`.
 */
export async function openTab(browserContext, server, backend, { echo, broadcaster, user = 'ann' }) {
  const page = await browserContext.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  const { app, host, port, tls = false, path = '' } = server;
  const query = new URLSearchParams({ echo, broadcaster, user, key: app.key, host, port, tls, path });
  await page.goto(`${backend.url}/?${query}`);
  await until(
    () => page.evaluate(() => 'page' in window),
    () => `the page is ready; faults ${faults}`,
  );
  const tab = new Tab(page, faults);
  await until(() => page.evaluate(() => window.page.socketId()), 'the page is connected');
  return tab;
}

class Tab {
  constructor(page, faults) {
    this.page = page;
    this.faults = faults;
  }

  /** Subscribes; true if that was allowed. */
  listen(channel, events = ['.e']) {
    return this.page.evaluate(([wire, names]) => window.page.listen(wire, names), [channel, events]);
  }

  whisper(channel, data) {
    return this.page.evaluate(([wire, what]) => window.page.whisper(wire, what), [channel, data]);
  }

  socketId() {
    return this.page.evaluate(() => window.page.socketId());
  }

  /** What the list `id` of the page shows. */
  async shown(id) {
    const items = await this.page.locator(`#${id} li`).allTextContents();
    return items.map((item) => JSON.parse(item));
  }

  /** Waits until the list `id` shows at least `count` items and returns all. */
  async shows(id, count) {
    let items = [];
    await until(
      async () => (items = await this.shown(id)).length >= count,
      () => `${count} items in #${id}; it shows ${JSON.stringify(items)}, faults ${this.faults}`,
    );
    return items;
  }

  /** Waits until exactly these user ids are listed as members. */
  async showsMembers(ids) {
    let shown = [];
    await until(
      async () => (shown = (await this.shown('members')).map((member) => member.id).sort()).join() === ids.join(),
      () => `members ${ids}; it shows ${shown}`,
    );
  }

  close() {
    return this.page.close();
  }
}
