/** Loads the configuration from a file that a test writes. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Config, loadConfig } from '../../config.ts';

export const REPOSITORY = 'repositories:\n  - url: https://github.com/acme/platform.git\n';
export const ENVIRONMENTS = `${REPOSITORY}    environments:\n`;

/** The file of one environment, whose name is on line 4, and whose other fields begin on line 5. */
export function withFields(...fields: string[]): string {
  return `${ENVIRONMENTS}      - name: staging\n${fields.map((field) => `        ${field}\n`).join('')}`;
}

interface ConfigFolder {
  /** Writes a file, and returns its path. */
  write(name: string, content: string): string;
  load(text: string, environment?: Record<string, string>): Config;
  /** The lines of the error, or none. */
  problems(text: string, environment?: Record<string, string>): string[];
}

const SECRET = { WEBHOOK_SECRET: 'a-secret-of-the-webhook' };

/** Call it at the top of a test file. */
export function configFolder(): ConfigFolder {
  const folder = mkdtempSync(join(tmpdir(), 'config-file-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const write = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const load = (text: string, environment: Record<string, string> = {}): Config =>
    loadConfig({ ...SECRET, ...environment, CONFIG_FILE: write('config.yaml', text) });
  return {
    write,
    load,
    problems(text, environment) {
      try {
        load(text, environment);
        return [];
      } catch (error) {
        return error instanceof Error ? error.message.split('\n') : [String(error)];
      }
    },
  };
}
