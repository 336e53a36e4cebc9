/** Starts a program with limits of the kernel, by prlimit(1) of util-linux. */

import { findProgram } from './find-program.ts';
import { describeSpawnFailure, type SpawnFailure } from './spawn-failure.ts';

/** See setrlimit(2). The limits hold for each process alone. Null means no limit except the system's. */
export interface ProcessLimits {
  /** At the limit a process gets XCPU, and some seconds later KILL. */
  cpuSeconds: number | null;
  /** The size of the address space, including memory that is only reserved. */
  memoryBytes: number | null;
  openFiles: number | null;
}

/** The time between XCPU and KILL. */
const CPU_GRACE_SECONDS = 5;
/** The folders where util-linux is installed, because the PATH of a step may not contain them. */
const USUAL_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

export function hasLimits(limits: ProcessLimits | null | undefined): limits is ProcessLimits {
  return limits != null && Object.values(limits).some((limit) => limit !== null);
}

/** Resolves to null if this machine cannot set limits. */
export function findPrlimit(): Promise<string | null> {
  return findProgram(USUAL_PATH, 'prlimit');
}

/** Adds prlimit to the command if there are limits. */
export async function limitedCommand(spec: {
  argv: readonly [string, ...string[]];
  cwd: string;
  env: Record<string, string>;
  limits?: ProcessLimits | null | undefined;
}): Promise<{ ok: true; argv: readonly [string, ...string[]] } | { ok: false; failure: SpawnFailure }> {
  const { argv, cwd, env, limits } = spec;
  if (!hasLimits(limits)) return { ok: true, argv };
  const prlimit = await findPrlimit();
  if (prlimit === null) {
    const message = 'Limits are set, but prlimit was not found; install util-linux.';
    return { ok: false, failure: { kind: 'not_started', code: 'ENOENT', message } };
  }
  const [name, ...args] = argv;
  // The program is searched here, so that a missing one is not reported as a failure of prlimit.
  const program = name.includes('/') ? name : await findProgram(env.PATH ?? '', name);
  if (program === null) return { ok: false, failure: describeSpawnFailure(name, cwd, 'ENOENT') };
  return { ok: true, argv: [prlimit, ...options(limits), '--', program, ...args] };
}

function options({ cpuSeconds, memoryBytes, openFiles }: ProcessLimits): string[] {
  return [
    ...(cpuSeconds === null ? [] : [`--cpu=${cpuSeconds}:${cpuSeconds + CPU_GRACE_SECONDS}`]),
    ...(memoryBytes === null ? [] : [`--as=${memoryBytes}`]),
    ...(openFiles === null ? [] : [`--nofile=${openFiles}`]),
    // A core file could contain secrets of the step.
    '--core=0',
  ];
}
