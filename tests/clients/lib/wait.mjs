// Waiting for conditions, always with a deadline: nothing in this suite sleeps and hopes.
export const DEADLINE_MS = 10_000;
const POLL_MS = 10;

/** Resolves with the first truthy value `condition` gives, or fails naming `what` did not happen. */
export async function until(condition, what, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) {
      const text = typeof what === 'function' ? what() : what;
      throw new Error(`not within ${deadlineMs} ms: ${text}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** `promise`, or a failure that names `what` after the deadline. */
export function within(promise, what, deadlineMs = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Collects what callbacks were called with, in order. */
export class Inbox {
  constructor(name) {
    this.name = name;
    this.items = [];
  }

  /** A callback that appends its first argument. */
  get push() {
    return (item) => void this.items.push(item);
  }

  /** Waits until `count` items are there and returns all of them. */
  async take(count) {
    await until(
      () => this.items.length >= count,
      () => `${count} items in ${this.name}, got ${JSON.stringify(this.items)}`,
    );
    return this.items;
  }

  /** Waits for an item that `matches`. */
  find(matches) {
    return until(
      () => this.items.find(matches),
      () => `a matching item in ${this.name}, got ${JSON.stringify(this.items)}`,
    );
  }
}
