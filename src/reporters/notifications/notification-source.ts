/** The notifications about syncs and deployments, for the addresses that the operator's rules name. */

import { createHash } from 'node:crypto';
import type { NotifyRule } from '../../config/notify.ts';
import { type DeployRun, isFinal, type Run, type SyncRun } from '../../runs/run.ts';
import { deployNotices } from './deploy-notices.ts';
import { hasFailed, lastEndedBefore, runsLike } from './earlier-runs.ts';
import { eventId } from './event-id.ts';
import type { EventSource, EventTarget } from './event-source.ts';
import type { SendEvent } from './event-webhook-client.ts';
import { chatText, type Notice, standardText } from './notice.ts';
import { noticeFor } from './notify-rule.ts';
import { readSyncFacts, type SyncFactsStore } from './sync-facts.ts';
import { syncNotices } from './sync-notices.ts';

export interface NotificationOptions {
  store: SyncFactsStore;
  rules: readonly NotifyRule[];
  /** The name of the repository of the unnamed environment. */
  repository: string;
  /** Returns what sends to the address of a rule. */
  sendBy(rule: NotifyRule): SendEvent;
  /** The page that a notification links to: absolute, http or https. */
  runUrl(runId: string): string;
}

export function createNotificationSource(options: NotificationOptions): EventSource {
  const rules = options.rules.map((rule) => ({ name: nameOf(rule), rule, send: options.sendBy(rule) }));
  return {
    reporter: 'notification',
    what: 'notifications',
    isInOrder: true,
    async targetsOf(run) {
      if (rules.length === 0) return [];
      const notices = await noticesOf(options, run);
      if (notices === null) return [];
      const isOver = isFinal(run.state);
      if (notices.length === 0) return isOver ? [] : null;
      return rules.map((one) => targetOf(options, { ...one, run, notices, isOver }));
    },
  };
}

interface Told {
  name: string;
  rule: NotifyRule;
  send: SendEvent;
  run: Run;
  notices: readonly Notice[];
  isOver: boolean;
}

function targetOf(
  { runUrl }: NotificationOptions,
  { name, rule, send, run, notices, isOver }: Told,
): EventTarget {
  const write = rule.format === 'slack' ? chatText : standardText;
  const wanted = notices.map((notice) => noticeFor(rule, notice)).filter((notice) => notice !== null);
  return {
    name,
    url: rule.url,
    isOperators: true,
    send,
    isOver,
    events: wanted.map((notice) => ({
      type: notice.event,
      id: eventId(run.id, name, notice.event),
      body: () => write(notice, runUrl(run.id)),
    })),
  };
}

/** The host is for people. The rest keeps two rules of one host apart, also after others were added. */
function nameOf(rule: NotifyRule): string {
  const digest = createHash('sha256').update(JSON.stringify(rule)).digest('base64url').slice(0, 8);
  return `${URL.parse(rule.url)?.host ?? ''} (${digest})`;
}

/** Null: nothing is told about runs of this kind. */
async function noticesOf(options: NotificationOptions, run: Run): Promise<Notice[] | null> {
  if (run.kind === 'sync') return ofSync(options, run);
  return run.kind === 'deploy' ? ofDeployment(options, run) : null;
}

async function ofSync({ store, repository }: NotificationOptions, run: SyncRun): Promise<Notice[]> {
  return syncNotices(await readSyncFacts(store, run, run.input.repository ?? repository));
}

async function ofDeployment({ store }: NotificationOptions, run: DeployRun): Promise<Notice[]> {
  const facts = { run, plan: null, before: null };
  if (!isFinal(run.state)) return deployNotices(facts);
  const planOf = async (one: DeployRun) => (await store.latestEvent(one.id, 'run.planned'))?.summary ?? null;
  const isCheck = run.input.operation === 'drift';
  const others = (await runsLike<'deploy'>(store, run))
    .filter(({ input }) => (input.operation === 'drift') === isCheck)
    .filter((one) => one.state === 'succeeded' || hasFailed(one));
  const before = lastEndedBefore(others, run);
  return deployNotices({
    run,
    plan: await planOf(run),
    before: before ? { run: before, plan: await planOf(before) } : null,
  });
}
