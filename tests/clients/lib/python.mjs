// Runs the small Python programs of this suite in the virtual environment that install.sh makes.
import { execFile, spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DEADLINE_MS, until } from './wait.mjs';

const CLIENTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const PYTHON = path.join(CLIENTS, '.venv/bin/python');

/** Runs python/`script` with `input` as its one JSON argument and returns the JSON it prints. */
export async function runPython(script, input) {
  const file = path.join(CLIENTS, 'python', script);
  const { stdout } = await promisify(execFile)(PYTHON, [file, JSON.stringify(input)], { timeout: 3 * DEADLINE_MS });
  return JSON.parse(stdout);
}

/** Starts python/`script` beside the test; `line` waits for a line it prints, `ended` for its good end. */
export function spawnPython(script, input) {
  const process = spawn(PYTHON, [path.join(CLIENTS, 'python', script), JSON.stringify(input)]);
  let output = '';
  let errors = '';
  let code;
  process.stdout.on('data', (chunk) => void (output += chunk));
  process.stderr.on('data', (chunk) => void (errors += chunk));
  process.once('close', (status) => void (code = status ?? -1));
  const lines = () => output.split('\n').slice(0, -1);
  return {
    line: (text) =>
      until(
        () => {
          if (code !== undefined && !lines().includes(text)) throw new Error(`${script} ended with ${code}: ${errors}`);
          return lines().includes(text);
        },
        `${script} prints ${text}`,
        2 * DEADLINE_MS,
      ),
    ended: async () => {
      await until(() => code !== undefined, `${script} ends`, 2 * DEADLINE_MS);
      if (code !== 0) throw new Error(`${script} ended with ${code}: ${errors}`);
      return JSON.parse(lines().at(-1));
    },
    kill: () => process.kill(),
  };
}
