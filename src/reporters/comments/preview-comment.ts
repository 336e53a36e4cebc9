/** Writes the preview comment of a pull request, in Markdown that no text of the repository can break out of. Pure. */

import type { PreviewRun } from '../../runs/run.ts';
import type { Explanation, ServiceDecision } from '../../runs/run-events.ts';
import { RUN_REASONS } from '../../runs/run-reasons.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { code, prose } from './markdown.ts';

export const PREVIEW_MARK = '<!-- iac-runner:preview -->';

/** GitHub's limit, in characters (https://docs.github.com/en/rest/issues/comments). */
const MAX_LENGTH = 65_536;
const CUT = '_The rest is cut here: a comment holds no more._';
/** Space for the end of a comment that is cut. */
const RESERVED = 200;

/** The parts of the comment, and the decisions in each. */
const PARTS: readonly { title: string; decisions: readonly ServiceDecision['decision'][] }[] = [
  { title: 'Broken', decisions: ['invalid'] },
  { title: 'Would be synced', decisions: ['run', 'done'] },
  { title: 'Would be synced after a hold', decisions: ['held'] },
  { title: 'Would be reported as removed', decisions: ['removed'] },
  {
    title: 'Would be left alone',
    decisions: ['skipped', 'pinned', 'newer_synced', 'postponed', 'blocked'],
  },
  { title: 'Already due, with or without this pull request', decisions: ['already_due'] },
];

export function previewComment({
  run,
  explanation,
  url,
}: {
  run: PreviewRun;
  /** Null if the preview ended before it had one. */
  explanation: Explanation | null;
  url: string;
}): string {
  const { input, reason } = run;
  const lines = [
    PREVIEW_MARK,
    `### ${prose(run.message)}`,
    '',
    `Commit ${code(shortCommit(input.revision))} into ${code(input.branch)} · [the whole preview](${url})`,
    ...(reason === null ? [] : ['', prose(RUN_REASONS[reason])]),
    ...(explanation ? explained(explanation) : []),
  ];
  return cutToLimit(lines);
}

function explained({ notes, services, unmatched }: Explanation): string[] {
  const untouched = services.filter(({ decision }) => decision === 'not_chosen' || decision === 'excluded');
  return [
    ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${prose(note)}`)] : []),
    ...PARTS.flatMap(({ title, decisions }) => {
      const found = services.filter(({ decision }) => decisions.includes(decision));
      return found.length > 0 ? ['', `#### ${title}`, '', ...found.flatMap(decisionLines)] : [];
    }),
    ...folded(
      `Not affected: ${untouched.length}`,
      untouched.map(({ service }) => `- ${code(service)}`),
    ),
    ...folded(
      `Changed files that belong to no service: ${unmatched.length}`,
      unmatched.map((path) => `- ${code(path)}`),
    ),
  ];
}

function decisionLines({ service, because, paths }: ServiceDecision): string[] {
  return [`- ${code(service)}: ${prose(because)}`, ...paths.map((path) => `  - ${code(path)}`)];
}

function folded(title: string, lines: string[]): string[] {
  if (lines.length === 0) return [];
  return ['', '<details>', `<summary>${title}</summary>`, '', ...lines, '', '</details>'];
}

/** Cuts between two lines, and closes an open block. */
function cutToLimit(lines: readonly string[]): string {
  const whole = lines.join('\n');
  if (whole.length <= MAX_LENGTH) return whole;
  const kept: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length + 1;
    if (length > MAX_LENGTH - RESERVED) break;
    kept.push(line);
  }
  const isOpen = kept.lastIndexOf('<details>') > kept.lastIndexOf('</details>');
  return [...kept, ...(isOpen ? ['', '</details>'] : []), '', CUT].join('\n');
}
