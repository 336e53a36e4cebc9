/** Finds an `invoke` that really runs, or installs one in the least intrusive way that works here. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runBounded } from './bounded-command.ts';
import { PROJECT_ROOT } from './project-root.ts';

/** The command with its arguments and its origin, or one line that says which command to run. */
export type Invoke = { argv: string[]; how: string } | { missing: string };

export interface Candidate {
  how: string;
  argv: string[];
  /** The commands that must run first. */
  prepare?: string[][];
  /** A folder that `prepare` creates. It is removed if the candidate fails and the folder did not exist before. */
  makes?: string;
}

const VERIFY_MS = 60_000;
const PREPARE_MS = 90_000;

/** The first candidate whose `--version` works wins. A candidate may take 60 s, and each preparing command 90 s. */
export async function obtainInvoke(options: {
  log: (line: string) => void;
  candidates?: Candidate[];
  /** Shorter limits, for tests. */
  limitMs?: number;
}): Promise<Invoke> {
  const failures: string[] = [];
  for (const candidate of options.candidates ?? localCandidates()) {
    if (candidate.prepare) options.log(`invoke: trying ${candidate.how}`);
    const problem = await tryCandidate(candidate, options.limitMs);
    if (problem === null) return { argv: candidate.argv, how: candidate.how };
    failures.push(`${candidate.how}: ${problem}`);
  }
  return { missing: `invoke is missing. Type: pipx install invoke (tried ${failures.join('; ')})` };
}

function localCandidates(): Candidate[] {
  const folder = join(PROJECT_ROOT, '.venv');
  const inFolder = join(folder, 'bin', 'invoke');
  const python = join(folder, 'bin', 'python');
  const install = ['-m', 'pip', 'install', '--quiet', '--retries', '1', '--timeout', '15', 'invoke'];
  const makes = folder;
  const candidates: Candidate[] = [
    { how: 'PATH', argv: ['invoke'] },
    { how: '.venv of an earlier run', argv: [inFolder] },
    {
      // `uv tool run` is not used, because a plain program does not depend on the cache in a user's home.
      how: 'uv',
      argv: [inFolder],
      prepare: [
        ['uv', 'venv', '--quiet', '--allow-existing', folder],
        ['uv', 'pip', 'install', '--quiet', '--python', python, 'invoke'],
      ],
      makes,
    },
    {
      how: 'a virtual environment in .venv',
      argv: [inFolder],
      prepare: [
        ['python3', '-m', 'venv', folder],
        [python, ...install],
      ],
      makes,
    },
    { how: 'pipx', argv: ['pipx', 'run', 'invoke'] },
  ];
  if (process.getuid?.() === 0) candidates.push(APT);
  return candidates;
}

const APT: Candidate = {
  how: 'apt-get',
  // Debian's own Python has the package, even if another python3 comes first on PATH.
  argv: ['/usr/bin/invoke'],
  prepare: [
    ['apt-get', 'update', '-qq'],
    [
      'apt-get',
      'install',
      '-y',
      '-qq',
      '-o',
      'DPkg::Lock::Timeout=60',
      '--no-install-recommends',
      'python3-invoke',
    ],
  ],
};

/** Returns null if it works, else the problem. */
async function tryCandidate(candidate: Candidate, limitMs?: number): Promise<string | null> {
  const wasThere = candidate.makes !== undefined && existsSync(candidate.makes);
  const problem = await firstProblem(candidate, limitMs);
  if (problem !== null && candidate.makes && !wasThere)
    await rm(candidate.makes, { recursive: true, force: true });
  return problem;
}

async function firstProblem(candidate: Candidate, limitMs?: number): Promise<string | null> {
  for (const command of candidate.prepare ?? []) {
    const outcome = await runBounded(command, limitMs ?? PREPARE_MS);
    if (!outcome.ok) return outcome.problem;
  }
  const version = await runBounded([...candidate.argv, '--version'], limitMs ?? VERIFY_MS);
  if (!version.ok) return version.problem;
  return /^Invoke \d/m.test(version.output) ? null : 'does not answer --version as invoke does';
}
