/** Lets a program start under limits of the kernel, by prlimit(1) of util-linux. */

import { findProgram } from './find-program.ts';
import { describeSpawnFailure, type SpawnFailure } from './spawn-failure.ts';

/** See setrlimit(2). Each process of a family has them for itself; null: no limit but the system's. */
export interface ProcessLimits {
  /** At the limit a process gets XCPU, some seconds later KILL. */
  cpuSeconds: number | null;
  /** Of address space, also what is only reserved. */
  memoryBytes: number | null;
  openFiles: number | null;
}

/** Between XCPU and KILL. */
const CPU_GRACE_SECONDS = 5;
/** Where util-linux puts it, for steps whose PATH leads elsewhere. */
const USUAL_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

export function hasLimits(limits: ProcessLimits | null | undefined): limits is ProcessLimits {
  return limits != null && Object.values(limits).some((limit) => limit !== null);
}

/** Null where limits cannot be kept. */
export function findPrlimit(): Promise<string | null> {
  return findProgram(USUAL_PATH, 'prlimit');
}

/** The command under its limits; without any, as it is. */
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
    const message = 'Limits are asked for, but prlimit was not found; install util-linux.';
    return { ok: false, failure: { kind: 'not_started', code: 'ENOENT', message } };
  }
  const [name, ...args] = argv;
  // Looked for here, so that a missing program is told as such and not as a failure of prlimit.
  const program = name.includes('/') ? name : await findProgram(env.PATH ?? '', name);
  if (program === null) return { ok: false, failure: describeSpawnFailure(name, cwd, 'ENOENT') };
  return { ok: true, argv: [prlimit, ...options(limits), '--', program, ...args] };
}

function options({ cpuSeconds, memoryBytes, openFiles }: ProcessLimits): string[] {
  return [
    ...(cpuSeconds === null ? [] : [`--cpu=${cpuSeconds}:${cpuSeconds + CPU_GRACE_SECONDS}`]),
    ...(memoryBytes === null ? [] : [`--as=${memoryBytes}`]),
    ...(openFiles === null ? [] : [`--nofile=${openFiles}`]),
    // Nothing of a step lies around as a core file.
    '--core=0',
  ];
}
