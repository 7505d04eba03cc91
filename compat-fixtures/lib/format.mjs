// Writes fixtures in the format of compat-fixtures/README.md: one step a line, so that a diff reads as a conversation.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** JSON text that stands in the file exactly as it is: what a client sent. */
export class RawJson {
  constructor(text) {
    this.text = text;
  }
}

function stepText(step) {
  const fields = Object.entries(step).map(
    ([key, value]) => `${JSON.stringify(key)}: ${value instanceof RawJson ? value.text : JSON.stringify(value)}`,
  );
  return `    { ${fields.join(', ')} }`;
}

export function fixtureText({ shows, client, app, env, steps }) {
  const head = { shows, client, app, ...(env && { env }) };
  const lines = Object.entries(head).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)},`);
  return ['{', ...lines, '  "steps": [', steps.map(stepText).join(',\n'), '  ]', '}', ''].join('\n');
}

export function writeFixture(file, fixture) {
  const text = fixtureText(fixture);
  JSON.parse(text); // what a reader will do
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}
