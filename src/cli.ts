#!/usr/bin/env node
/** The table of commands, and the only place that maps an error to an exit code. */

import module from 'node:module';
import path from 'node:path';
import type { Command } from './commands/command.ts';

const MINIMUM_NODE = 24;
/**
 * Beside the program itself: who may write there may change the program, too; in a shared folder anybody could plant
 * code. Where it cannot be written, each start compiles anew.
 */
const COMPILE_CACHE = path.join(import.meta.dirname, '../node_modules/.cache/iac-runner');

// Whoever reads us may stop, like head(1): that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT_CODES.ok);
});

const COMMANDS: Record<string, () => Promise<Command>> = {
  serve: async () => (await import('./commands/serve.ts')).serveCommand,
  worker: async () => (await import('./commands/worker.ts')).workerCommand,
  sync: async () => (await import('./commands/sync.ts')).syncCommand,
  rollback: async () => (await import('./commands/rollback.ts')).rollbackCommand,
  unpin: async () => (await import('./commands/unpin.ts')).unpinCommand,
  deliveries: async () => (await import('./commands/deliveries.ts')).deliveriesCommand,
  explain: async () => (await import('./commands/explain.ts')).explainCommand,
  services: async () => (await import('./commands/services.ts')).servicesCommand,
  tools: async () => (await import('./commands/tools.ts')).toolsCommand,
  exec: async () => (await import('./commands/exec.ts')).execCommand,
  sign: async () => (await import('./commands/sign.ts')).signCommand,
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
  const command = Object.hasOwn(COMMANDS, name) ? await COMMANDS[name]?.() : undefined;
  if (!command) {
    process.stderr.write(`iac-runner has no command ${JSON.stringify(name)}.\n\n${await overview()}`);
    return EXIT_CODES.usage;
  }
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help);
    return EXIT_CODES.ok;
  }
  return await run(name, command, args);
}

/** Documented in docs/commands.md. */
const EXIT_CODES = { ok: 0, failed: 1, usage: 2, configuration: 3, refused: 4 } as const;

async function run(name: string, command: Command, args: string[]): Promise<number> {
  const { ConfigError, RequestError, UsageError, describeError } = await import('./errors.ts');
  try {
    return (await command.run(args)) ? EXIT_CODES.ok : EXIT_CODES.failed;
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
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(12)}${(await load()).summary}`),
  );
  return `Usage: iac-runner <command> [options]

git push as the only deploy button.

Commands:
${lines.join('\n')}

iac-runner <command> --help tells more; iac-runner --version prints the version.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration, 4 refused by the server or not reached.
`;
}

// Not by running out of work: a signal at that very end would otherwise decide the exit code.
process.exit(await main(process.argv.slice(2)));
