/** The examples in a document, and a shell in which they run as people type them. */

import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { CLI } from './program.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { PATIENCE_MS } from './until.ts';

/** Returns the blocks of a language in a file of docs/, without the spaces of a list around them. */
export function examplesOf(document: string, language: string): string[] {
  const text = readFileSync(join(PROJECT_ROOT, 'docs', document), 'utf8');
  const blocks = text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^ *\`\`\``, 'gm'));
  return [...blocks].map(([, indent = '', block = '']) =>
    block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
}

/** Makes a folder for PATH, in which the built program has its name. */
export async function installProgram(folder: string): Promise<string> {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  const script = `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`;
  await writeFile(join(bin, 'iac-runner'), script, { mode: 0o755 });
  return bin;
}

/** Runs a script in a shell that finds the program. */
export async function runInShell(
  script: string,
  bin: string,
  environment: Record<string, string>,
): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }> {
  const PATH = [bin, process.env.PATH ?? ''].join(delimiter);
  const { exitCode, stdout, stderr } = await execa('sh', {
    input: script,
    env: { PATH, ...environment },
    extendEnv: false,
    reject: false,
    timeout: PATIENCE_MS,
  });
  return { exitCode, stdout, stderr };
}
