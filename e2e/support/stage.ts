/** The parts of one scenario: a platform repository, a local GitHub, a journal, and servers on demand. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Journal, openJournal } from './journal.ts';
import { type LocalGithub, startLocalGithub } from './local-github.ts';
import { createPlatformRepository, type PlatformRepository } from './platform-repository.ts';
import { killProcessesMentioning } from './processes.ts';
import { type Runner, type StartOptions, startRunner } from './runner.ts';
import { type RunnerOptions, WEBHOOK_SECRET } from './runner-environment.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';
import type { Delivery } from './webhook-sender.ts';

export interface Stage {
  folder: string;
  repository: PlatformRepository;
  github: LocalGithub;
  journal: Journal;
  /** The options of every server of this stage, for `runProgram`. */
  runnerOptions: RunnerOptions;
  /** Starts a server. A second server, or one after `kill()`, finds the same workspace and data. */
  start(options?: Pick<StartOptions, 'environment' | 'program'>): Promise<Runner>;
  /** Pushes the commits and delivers the webhook for them. */
  push(runner: Runner, options?: { force?: boolean; refspec?: string }): Promise<Delivery>;
  /** Ends everything that was started, and removes the folder unless `keep` is set. */
  close(options?: { keep?: boolean }): Promise<void>;
}

export interface StageOptions {
  name: string;
  /** The argv from obtainInvoke. */
  invoke: readonly string[];
  /** The folder with the files of the first commit. Default: the example platform. */
  source?: string;
}

export async function setStage(options: StageOptions): Promise<Stage> {
  const folder = await makeTemporaryFolder(options.name);
  const repository = await createPlatformRepository(folder, options.source);
  const fullName = 'acme/platform';
  const token = 'e2e-github-token-4b8e';
  const github = await startLocalGithub({ fullName, token, repositoryPath: repository.path });
  // The workspace is in a folder of its own, because its lock files are beside it.
  await mkdir(join(folder, 'journal'));
  const journal = openJournal(join(folder, 'journal', 'syncs'));
  const runners: Runner[] = [];
  const runnerOptions = {
    folder,
    repositoryPath: repository.path,
    invoke: options.invoke,
    github,
    journalPath: journal.path,
  };

  return {
    folder,
    repository,
    github,
    journal,
    runnerOptions,
    async start(more = {}) {
      const runner = await startRunner({ ...runnerOptions, ...more });
      runners.push(runner);
      return runner;
    },
    async push(runner, how = {}) {
      const refUpdate = await repository.push(how);
      const url = `${runner.url}/webhook`;
      return github.deliverPush({
        url,
        secret: WEBHOOK_SECRET,
        repository: { path: repository.path, fullName },
        ...refUpdate,
      });
    },
    async close({ keep = false } = {}) {
      await Promise.all(runners.map((runner) => runner.kill()));
      await killProcessesMentioning(folder);
      await github.close();
      if (!keep) await removeFolder(folder);
    },
  };
}
