#!/usr/bin/env node
/** The table of subcommands, and the only place that maps an error to an exit code. */

import module from 'node:module';
import path from 'node:path';
import type { Subcommand } from './commands/subcommand.ts';
import { INSTALLED_IN } from './program-files.ts';

const MINIMUM_NODE = 24;
/**
 * The cache stands beside the program, because people who may write there can change the program anyway. In a shared
 * folder anybody could plant code. Where it cannot be written, each start compiles again.
 */
const COMPILE_CACHE = path.join(INSTALLED_IN, 'node_modules/.cache/iac-runner');

// A reader such as head(1) may stop reading, which is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT_CODES.ok);
});

const SUBCOMMANDS: Record<string, () => Promise<Subcommand>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  worker: async () => (await import('./commands/worker.ts')).worker,
  sync: async () => (await import('./commands/sync.ts')).sync,
  rollback: async () => (await import('./commands/rollback.ts')).rollback,
  promote: async () => (await import('./commands/promote.ts')).promote,
  unpin: async () => (await import('./commands/unpin.ts')).unpin,
  hold: async () => (await import('./commands/holds/hold.ts')).hold,
  release: async () => (await import('./commands/holds/release.ts')).release,
  status: async () => (await import('./commands/reading/status.ts')).status,
  why: async () => (await import('./commands/reading/why.ts')).why,
  runs: async () => (await import('./commands/reading/runs.ts')).runs,
  logs: async () => (await import('./commands/reading/logs.ts')).logs,
  retry: async () => (await import('./commands/reading/run-actions.ts')).retry,
  cancel: async () => (await import('./commands/reading/run-actions.ts')).cancel,
  approve: async () => (await import('./commands/reading/run-actions.ts')).approve,
  reject: async () => (await import('./commands/reading/run-actions.ts')).reject,
  deploy: async () => (await import('./commands/deployments/deploy.ts')).deploy,
  deliveries: async () => (await import('./commands/deliveries.ts')).deliveries,
  explain: async () => (await import('./commands/explain.ts')).explain,
  services: async () => (await import('./commands/services.ts')).services,
  tools: async () => (await import('./commands/deployments/tools.ts')).tools,
  exec: async () => (await import('./commands/exec.ts')).exec,
  sign: async () => (await import('./commands/sign.ts')).sign,
  completion: async () => (await import('./commands/completion/completion.ts')).completionOf(SUBCOMMANDS),
};

async function main([name, ...args]: string[]): Promise<number> {
  if (Number(process.versions.node.split('.')[0]) < MINIMUM_NODE) {
    process.stderr.write(
      `iac-runner needs Node ${MINIMUM_NODE} or newer; this is ${process.version}. In a checkout, npm scripts bring their own.\n`,
    );
    return EXIT_CODES.failed;
  }
  module.enableCompileCache(COMPILE_CACHE);
  if (name === '--version') {
    const { VERSION } = await import('./version.ts');
    process.stdout.write(`${VERSION}\n`);
    return EXIT_CODES.ok;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(await overview());
    return name === undefined ? EXIT_CODES.usage : EXIT_CODES.ok;
  }
  const subcommand = Object.hasOwn(SUBCOMMANDS, name) ? await SUBCOMMANDS[name]?.() : undefined;
  if (!subcommand) {
    const { nearestName } = await import('./nearest-name.ts');
    const nearest = nearestName(name, Object.keys(SUBCOMMANDS));
    const hint = nearest === null ? '' : ` Did you mean ${nearest}?`;
    process.stderr.write(
      `iac-runner has no subcommand ${JSON.stringify(name)}.${hint}\n\n${await overview()}`,
    );
    return EXIT_CODES.usage;
  }
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(subcommand.help);
    return EXIT_CODES.ok;
  }
  return await run(name, subcommand, args);
}

/** Documented in docs/commands.md. */
const EXIT_CODES = { ok: 0, failed: 1, usage: 2, configuration: 3, refused: 4 } as const;

async function run(name: string, subcommand: Subcommand, args: string[]): Promise<number> {
  const { ConfigError, RequestError, UsageError, describeError } = await import('./errors.ts');
  try {
    return (await subcommand.run(args)) ? EXIT_CODES.ok : EXIT_CODES.failed;
  } catch (error) {
    process.stderr.write(`iac-runner ${name}: ${describeError(error)}\n`);
    if (error instanceof UsageError) {
      process.stderr.write(`See iac-runner ${name} --help.\n`);
      return EXIT_CODES.usage;
    }
    if (error instanceof ConfigError) return EXIT_CODES.configuration;
    return error instanceof RequestError ? EXIT_CODES.refused : EXIT_CODES.failed;
  }
}

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(SUBCOMMANDS).map(async ([name, load]) => `  ${name.padEnd(12)}${(await load()).summary}`),
  );
  return `Usage: iac-runner <subcommand> [options]

git push as the only deploy button.

Subcommands:
${lines.join('\n')}

iac-runner <subcommand> --help prints the options; iac-runner --version prints the version.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration, 4 refused by the server or not reached.
`;
}

/** A reader that is slower than we are, such as a pager, gets everything before the process ends. */
async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writable) await new Promise<void>((resolve) => stream.write('', () => resolve()));
}

const exitCode = await main(process.argv.slice(2));
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
// The process exits here and not when it runs out of work, because a signal at its very end would decide the exit code.
process.exit(exitCode);
