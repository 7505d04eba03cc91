// Runs the small Python programs of this suite in the virtual environment that install.sh makes.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DEADLINE_MS } from './wait.mjs';

const CLIENTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const PYTHON = path.join(CLIENTS, '.venv/bin/python');

/** Runs python/`script` with `input` as its one JSON argument and returns the JSON it prints. */
export async function runPython(script, input) {
  const file = path.join(CLIENTS, 'python', script);
  const { stdout } = await promisify(execFile)(PYTHON, [file, JSON.stringify(input)], { timeout: 3 * DEADLINE_MS });
  return JSON.parse(stdout);
}
