/** One thing to tell about a run, and its words in both formats. Pure. */

import type { NotifyEvent } from '../../config/notify.ts';
import type { Run } from '../../runs/run.ts';
import { DEFAULT_ENVIRONMENT } from '../../runs/sync/hold.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';

/** A service, with one sentence about it. */
export interface NoticeService {
  service: string;
  message: string;
}

export interface Notice {
  event: NotifyEvent | 'break_glass';
  kind: 'sync' | 'deployment';
  /** When it happened, in ms since the epoch. */
  at: number;
  /** `owner/name`, or the address of a deployment's repository. */
  repository: string;
  /** Null: the unnamed one, or none. */
  environment: string | null;
  /** The services that it is about. Empty: the whole run. */
  services: readonly NoticeService[];
  /** One sentence that says more; '' if there is none. */
  message: string;
  run: Run;
}

/** More services than this are only counted in a text for people. */
const NAMED = 10;

const WORDS: Record<Notice['event'], [one: string, several: string, whole: string]> = {
  failed: ['failed', 'services failed', 'The run failed'],
  recovered: ['recovered', 'services recovered', 'It recovered'],
  succeeded: ['was synced', 'services were synced', 'The run succeeded'],
  approval_needed: [
    'waits for an approval',
    'services wait for an approval',
    'The run waits for an approval',
  ],
  held: ['is held', 'services are held', 'The run is held'],
  drift: ['has drifted', 'services have drifted', 'What runs differs from the code'],
  break_glass: [
    'is promoted past the rules',
    'services are promoted past the rules',
    'A promotion passes the rules',
  ],
};

/** Says what happened, where, to what, and why, in one line. */
function sentenceOf(notice: Notice): string {
  const { event, services, message, run } = notice;
  const [one, several, whole] = WORDS[event];
  const [first] = services;
  const what =
    first === undefined
      ? whole
      : services.length === 1
        ? `${first.service} ${one}`
        : `${services.length} ${several}`;
  const commit = run.revision === null ? '' : ` at ${shortCommit(run.revision)}`;
  const why = services.length === 1 && first?.message ? first.message : message;
  return `${placeOf(notice)}: ${what}${commit}${why === '' ? '.' : `: ${why}`}`;
}

function placeOf({ repository, environment }: Notice): string {
  return environment === null ? repository : `${repository} ${environment}`;
}

/** The text of an event in the form of Standard Webhooks. */
export function standardText(notice: Notice, runUrl: string): string {
  const { event, kind, at, repository, environment, services, run } = notice;
  return JSON.stringify({
    type: `${kind}.${event}`,
    timestamp: new Date(at).toISOString(),
    data: {
      event,
      kind,
      message: sentenceOf(notice),
      repository,
      environment: kind === 'deployment' ? null : (environment ?? DEFAULT_ENVIRONMENT),
      services,
      run_id: run.id,
      run_url: runUrl,
      state: run.state,
      reason: run.reason,
      commit: run.revision,
      subject: run.subject,
      actor: run.trigger.actor,
      ...(run.approvalExpiresAt !== null && { expires_at: new Date(run.approvalExpiresAt).toISOString() }),
    },
  });
}

/** The text of a message for Slack and programs that take the same: https://docs.slack.dev/messaging/formatting-message-text */
export function chatText(notice: Notice, runUrl: string): string {
  const { services, run } = notice;
  const named = services.length > 1 ? services.slice(0, NAMED) : [];
  const lines = named.map(
    ({ service, message }) => `• ${escaped(service)}${message && `: ${escaped(message)}`}`,
  );
  if (named.length > 0 && services.length > NAMED) lines.push(`• and ${services.length - NAMED} more`);
  const subject = run.subject === null ? '' : ` – ${escaped(run.subject)}`;
  const text = [`*${escaped(sentenceOf(notice))}*`, ...lines, `<${runUrl}|Open the run>${subject}`].join(
    '\n',
  );
  return JSON.stringify({ text });
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
