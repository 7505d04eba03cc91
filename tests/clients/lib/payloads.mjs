// Payloads that must arrive exactly as they were published.
export const PAYLOADS = [
  { what: 'an object', data: { id: 42, state: 'shipped', nested: { empty: {}, list: [] } } },
  { what: 'unicode', data: { text: 'naïve Žofie 🚀 \u2028 \u0000 \\ " / 漢字 العربية', 'kéy': null } },
  { what: 'a string of 10 kB', data: { text: 'x'.repeat(10_000) } },
  { what: 'numbers and nothing', data: { big: 9007199254740991, ratio: 0.1, nothing: null, yes: true } },
];

/** One name of every channel kind. */
export function channelKinds(suffix) {
  return [
    `public-${suffix}`,
    `private-${suffix}`,
    `private-encrypted-${suffix}`,
    `presence-${suffix}`,
    `cache-${suffix}`,
    `private-cache-${suffix}`,
    `presence-cache-${suffix}`,
    `private-encrypted-cache-${suffix}`,
  ];
}

export const isCacheKind = (channel) => /^(private-encrypted-cache-|private-cache-|presence-cache-|cache-)/.test(channel);
