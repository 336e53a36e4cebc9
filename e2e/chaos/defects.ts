/** Defects to plant in a copy of the program, to see whether the chaos driver notices them. */

import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../support/project-root.ts';

export interface Defect {
  name: string;
  /** The wrong behaviour of the program with this defect. */
  what: string;
  /** The invariants that must notice the defect. Others do not count. */
  breaks: readonly string[];
  /** The fault without which the defect does no harm. It is then the only fault, and happens in every round. */
  needs?: string;
  /** Exact texts, each of which must occur exactly once in its file. */
  patches: readonly { file: string; from: string; to: string }[];
}

export const DEFECTS: readonly Defect[] = [
  {
    name: 'ack-before-commit',
    what: 'a push is answered 200 before its run is stored',
    breaks: ['accepted means stored'],
    needs: 'kill at answer',
    patches: [
      {
        file: 'triggers/github/github-webhook.ts',
        from: `const { run } = await enqueueSync(store, {
    trigger: { source: 'webhook', actor: push.sender, deliveryId },`,
        to: `const run = { id: deliveryId ?? '', kind: 'sync', input: { announced: services, revision: null } };
  void enqueueSync(store, {
    trigger: { source: 'webhook', actor: push.sender, deliveryId },`,
      },
      // The answer can name the run only if its id is known before the run is stored. The following code gets
      // another id.
      {
        file: 'stores/sql/writes/new-run.ts',
        from: 'id: timeOrderedId(now),',
        to: 'id: (dedupeKey && trigger.deliveryId) ?? timeOrderedId(now),',
      },
    ],
  },
  {
    name: 'no-orphan-kill',
    what: 'a start leaves the tasks of a dead server running',
    breaks: ['one at a time'],
    needs: 'orphan',
    patches: [
      {
        file: 'worker/recover.ts',
        from: 'const groups = processes.map((leader) => endProcessGroup({ ...leader, graceMs: GRACE_MS }));',
        to: 'const groups = processes.map(() => []);',
      },
      {
        file: 'worker/recover.ts',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the text of the program.
        from: 'const marked = endMarkedProcesses({ marker: `IAC_RUN_ID=${runId}`, graceMs: GRACE_MS });',
        to: 'const marked = [];',
      },
    ],
  },
  {
    name: 'no-ancestry-check',
    what: 'the program does not check whether a commit is older than the synced one',
    breaks: ['never backwards'],
    patches: [
      {
        file: 'pipelines/selection/explain.ts',
        from: 'target, baselines, ownServices, newer };',
        to: 'target, baselines, ownServices, newer: new Set() };',
      },
    ],
  },
  {
    name: 'no-reconcile-at-start',
    what: 'the branch is compared with the ledger regularly, but not at the start',
    breaks: ['the head is deployed'],
    needs: 'down',
    patches: [
      {
        file: 'triggers/timers/reconcile.ts',
        from: `  look();
  return {`,
        to: `  if (intervalMs > 0) schedule(intervalMs);
  return {`,
      },
    ],
  },
  {
    name: 'fire-and-forget-statuses',
    what: 'a commit status that GitHub did not accept counts as sent',
    breaks: ['every status ends', 'every status is true'],
    needs: 'GitHub',
    patches: [
      {
        file: 'reporters/statuses/status-sender.ts',
        from: "if (outcome.kind !== 'ok') return reportFailure(options, owed, outcome);",
        to: '',
      },
    ],
  },
  {
    name: 'fractional-time',
    what: 'the time of the next try is stored as a fraction, which the table refuses',
    breaks: ['every status ends'],
    needs: 'GitHub',
    patches: [
      {
        file: 'reporters/outbox/write-lane.ts',
        from: 'return Math.ceil(clock() + ms);',
        to: 'return Math.ceil(clock() + ms) + 0.5;',
      },
      // The store rounds every number as well.
      {
        file: 'stores/sql/database.ts',
        from: 'return Math.round(value);',
        to: 'return value;',
      },
    ],
  },
  {
    name: 'pace-by-the-wall-clock',
    what: 'the pace of reports follows the time of the machine, also when somebody sets it back',
    breaks: ['every status ends'],
    needs: 'clock',
    patches: [
      { file: 'reporters/outbox/write-lane.ts', from: 'clock = steadyNow', to: 'clock = Date.now' },
      { file: 'reporters/outbox/sending-loop.ts', from: 'clock = steadyNow', to: 'clock = Date.now' },
    ],
  },
  {
    name: 'full-disk-accepted',
    what: 'a push that the store cannot accept is answered 200',
    breaks: ['accepted means stored'],
    needs: 'full disk',
    patches: [
      {
        file: 'triggers/github/github-webhook.ts',
        from: `  });
  return run;`,
        to: `  }).catch(() => ({ run: { id: deliveryId ?? '', kind: 'sync', input: { announced: services } } }));
  return run;`,
      },
    ],
  },
  {
    name: 'database-opened-by-hand',
    what: 'the database file is opened and closed outside SQLite, which drops the locks of the process',
    breaks: ['accepted means stored'],
    needs: 'I/O error',
    patches: [
      {
        file: 'stores/sqlite/database.ts',
        from: `  // SQLite gives its mode to -wal and -shm, too.
  createPrivateFile(file);`,
        to: `  createPrivateFile(file);
  const files = process.getBuiltinModule('node:fs');
  files.closeSync(files.openSync(file, 'r'));`,
      },
    ],
  },
  {
    name: 'last-words-given-up',
    what: 'the end of a run is tried once while the store is locked, and runs are taken back only at a start',
    breaks: ['accepted means stored', 'every status ends'],
    needs: 'locked store',
    patches: [
      {
        file: 'worker/event-writer.ts',
        from: 'if (!(error instanceof StoreUnavailableError)) throw error;',
        to: 'throw error;',
      },
      {
        file: 'wiring/work.ts',
        from: 'intervalMs: config.leaseMs * TAKE_BACK_PART,',
        to: 'intervalMs: 2 ** 31 - 1 + 0 * TAKE_BACK_PART,',
      },
    ],
  },
];

/** Copies the program to `folder` and plants the defect. Returns the folder of its modules. */
export async function plant(defect: Defect, folder: string): Promise<string> {
  const source = join(folder, 'src');
  await mkdir(folder, { recursive: true });
  await cp(join(PROJECT_ROOT, 'src'), source, { recursive: true });
  await cp(join(PROJECT_ROOT, 'package.json'), join(folder, 'package.json'));
  await symlink(join(PROJECT_ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const { file, from, to } of defect.patches) {
    const path = join(source, file);
    const text = await readFile(path, 'utf8');
    const times = text.split(from).length - 1;
    if (times !== 1) {
      throw new Error(
        `The defect ${defect.name} does not apply any more: this text occurs ${times} times in src/${file}:\n${from}`,
      );
    }
    await writeFile(
      path,
      text.replace(from, () => to),
    );
  }
  return source;
}
