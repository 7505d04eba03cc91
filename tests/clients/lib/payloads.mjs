// Payloads that must arrive exactly as they were published.
export function payloads(channel) {
  // Ciphertext is a third longer, and the limit of 10,240 bytes is on what goes over the wire.
  const long = channel.includes('-encrypted-') ? 7_000 : 10_000;
  return [
    { id: 42, state: 'shipped', nested: { empty: {}, list: [] } },
    { text: 'naïve Žofie 🚀 \u2028 \u0000 \\ " / 漢字 العربية', 'kéy': null },
    { text: 'x'.repeat(long) },
    { big: 9007199254740991, ratio: 0.1, nothing: null, yes: true },
  ];
}

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
