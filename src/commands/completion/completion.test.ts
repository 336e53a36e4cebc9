/** Loads each script into the real shell, and asks it what it would complete. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { captureProcess } from '../../process/capture.ts';

const PATH = process.env.PATH ?? '';
const CLI = path.join(import.meta.dirname, '..', '..', 'cli.ts');
const TIMEOUT_MS = 30_000;

async function run(argv: readonly [string, ...string[]], { cwd = '/', home = '/' } = {}) {
  const env = { PATH, HOME: home, TERM: 'dumb' };
  const result = await captureProcess({ argv, cwd, env, timeoutMs: TIMEOUT_MS });
  if (result.kind !== 'exited') throw new Error(`${argv[0]} ended as ${result.kind}.`);
  return { exitCode: result.exitCode, stdout: result.stdout.toString(), stderr: result.stderr };
}

async function isInstalled(shell: string): Promise<boolean> {
  return (
    (await captureProcess({ argv: [shell, '-c', 'true'], cwd: '/', env: { PATH }, timeoutMs: TIMEOUT_MS }))
      .kind === 'exited'
  );
}

function newFolder(...files: string[]): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-completion-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const file of files) writeFileSync(path.join(folder, file), '');
  return folder;
}

const SCRIPTS = new Map<string, string>();

beforeAll(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { exitCode, stdout, stderr } = await run([process.execPath, CLI, 'completion', shell]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    SCRIPTS.set(shell, stdout);
  }
});

/** Runs the program with the script of the shell before it, and returns what it prints. */
async function inShell(shell: string, program: string, cwd: string): Promise<string[]> {
  const home = newFolder();
  const file = path.join(home, 'script');
  writeFileSync(file, `${SCRIPTS.get(shell)}\n${program}`);
  const { exitCode, stdout, stderr } = await run([shell, file], { cwd, home });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

type Complete = (line: string, cwd?: string) => Promise<string[]>;

/** What a shell offers for the last word of a line. */
const COMPLETE: Readonly<Record<string, Complete>> = {
  bash: (line, cwd = '/') => {
    const words = line.split(' ').map((word) => `'${word}'`);
    return inShell(
      'bash',
      `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}
_iac_runner; printf '%s\\n' "\${COMPREPLY[@]}"`,
      cwd,
    );
  },
  fish: async (line, cwd = '/') => {
    const found = await inShell('fish', `complete -C '${line}'`, cwd);
    return found.map((one) => one.split('\t')[0] ?? '');
  },
};

/** Types a line and the tab key into an interactive zsh, and returns the line that it shows then. */
async function typeInZsh(line: string): Promise<string> {
  const home = newFolder();
  const script = path.join(home, 'script');
  writeFileSync(script, SCRIPTS.get('zsh') ?? '');
  const program = path.join(home, 'program');
  writeFileSync(
    program,
    `zmodload zsh/zpty
zpty shell "PS1='> ' TERM=dumb zsh -f -i"
zpty -w shell "autoload -Uz compinit; compinit -D; source ${script}; PS1='loa''ded> '"
zpty -r -m shell ready '*loaded> *'
zpty -w -n shell $'${line}\t'
zpty -w shell $' ; echo EN""D'
zpty -r -m shell shown '*EN""D*'
print -r -- "$shown"
zpty -d shell
`,
  );
  const { stdout } = await run(['zsh', '-f', program], { home });
  return stdout;
}

const SHELLS = await Promise.all(
  ['bash', 'fish', 'zsh'].map(async (shell) => ({ shell, isThere: await isInstalled(shell) })),
);

for (const { shell, isThere } of SHELLS.slice(0, 2)) {
  const title = isThere ? `In ${shell}` : `In ${shell} (skipped: it is not installed)`;
  describe.skipIf(!isThere)(title, () => {
    const complete: Complete = (line, cwd) =>
      COMPLETE[shell]?.(line, cwd) ?? Promise.reject(new Error(`Nobody asks ${shell}.`));

    it('the name of a subcommand is completed', async () => {
      expect(await complete('iac-runner pro')).toEqual(['promote']);
      expect((await complete('iac-runner re')).toSorted()).toEqual(['reject', 'release', 'retry']);
    });

    it('the options of a subcommand are completed, and no others', async () => {
      expect((await complete('iac-runner promote --re')).toSorted()).toEqual([
        '--reason',
        '--repository',
        '--revision',
      ]);
      expect(await complete('iac-runner why --rev')).toEqual([]);
      expect(await complete('iac-runner approve 01a2 --he')).toEqual(['--help']);
    });

    it('the words that a subcommand takes are completed', async () => {
      const words = (await complete('iac-runner completion ')).filter((word) => !word.startsWith('-'));
      expect(words.toSorted()).toEqual(['bash', 'fish', 'zsh']);
    });

    it('files are completed only where a file is expected', async () => {
      const folder = newFolder('request one.json');
      const found = await complete('iac-runner sign --file req', folder);
      expect(found.map((file) => file.replaceAll('\\', ''))).toEqual(['request one.json']);
      expect(await complete('iac-runner why req', folder)).toEqual([]);
      expect(await complete('iac-runner promote --reason req', folder)).toEqual([]);
    });
  });
}

describe('In zsh', () => {
  it('the script names every subcommand and its options, in the form of _arguments', () => {
    const script = SCRIPTS.get('zsh') ?? '';
    expect(script).toMatch(/^#compdef iac-runner\n/);
    expect(script).toContain("'promote:Promote to an environment what another one holds.'");
    expect(script).toMatch(/^ {4}promote\) _arguments .*'\*--service\[only this service\]:ID: ' /m);
    expect(script).toMatch(/^ {4}sign\) _arguments .*'--file\[read the body from a file\]:FILE:_files' /m);
  });

  const isThere = SHELLS[2]?.isThere === true;
  const title = isThere
    ? 'subcommands, options and words are completed at the prompt'
    : '(skipped: it is not installed)';
  it.skipIf(!isThere)(title, async () => {
    expect(await typeInZsh('iac-runner pro')).toContain('iac-runner promote ');
    expect(await typeInZsh('iac-runner promote --rev')).toContain('iac-runner promote --revision ');
    expect(await typeInZsh('iac-runner why --rev')).not.toContain('--revision');
    expect(await typeInZsh('iac-runner completion fi')).toContain('iac-runner completion fish ');
  });
});

it('A shell that is not known is refused with those that are', async () => {
  const { exitCode, stdout, stderr } = await run([process.execPath, CLI, 'completion', 'tcsh']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain('Name one shell: bash, zsh, fish.');
});
