/** An explanation for the terminal, as file → rule → service → decision, and as JSON. */

import type { Explained } from '../pipelines/selection/explain.ts';
import { createPathMatcher, ruleOf } from '../pipelines/selection/touched-paths.ts';
import type { ServiceDecision } from '../runs/run-events.ts';
import { replaceUnseen } from '../runs/texts/unseen-characters.ts';

export interface ExplainedRange {
  /** Null if nothing was synced before. */
  from: string | null;
  to: string;
  /** How the text names the two commits. */
  shown: { from: string; to: string };
}

/** Decisions that are shown only with --all. */
const QUIET: ReadonlySet<ServiceDecision['decision']> = new Set(['not_chosen', 'excluded']);

/** False if a sync would fail because of the repository itself. */
export function wouldSucceed({ loaded, explanation }: Explained): boolean {
  return loaded.problems.length === 0 && explanation.services.every(({ decision }) => decision !== 'invalid');
}

export function explanationJson(explained: Explained, range: ExplainedRange): string {
  const { loaded, explanation } = explained;
  const { services, notes, unmatched } = explanation;
  const match = matcherOf(explained);
  const value = {
    from: range.from,
    to: range.to,
    services: services.map(({ paths, ...decision }) => ({
      ...decision,
      paths: paths.map((path) => ({ path, rule: ruleOf(match(path), decision.service) })),
    })),
    unmatched,
    notes,
    problems: loaded.problems,
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function explanationText(
  explained: Explained,
  { shown }: ExplainedRange,
  options: { all: boolean },
): string {
  const { services, notes, unmatched } = explained.explanation;
  // Problems of the rules are printed as errors.
  const remarks = notes.filter(
    (note) => !explained.loaded.problems.some((problem) => note.startsWith(problem)),
  );
  const match = matcherOf(explained);
  const loud = services.filter(({ decision }) => options.all || !QUIET.has(decision));
  const runs = services.filter(({ decision }) => decision === 'run').length;
  const quiet = services.length - loud.length;
  const lines = [
    `Syncing ${shown.to} after ${shown.from} would run ${runs} of ${services.length} service(s).`,
    ...remarks.map((note) => `Note: ${note}`),
    ...loud.flatMap((decision) => ['', ...decisionLines(match, decision)]),
    ...(quiet > 0 ? ['', `${quiet} service(s) not chosen; --all lists them.`] : []),
    ...(unmatched.length > 0 ? ['', 'Changed files that belong to no service:'] : []),
    ...unmatched.map((path) => `  ${path}`),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

function matcherOf({ loaded, target }: Explained): ReturnType<typeof createPathMatcher> {
  return createPathMatcher(loaded.rules, target.claimed);
}

function decisionLines(match: ReturnType<typeof matcherOf>, decided: ServiceDecision): string[] {
  const { service, decision, because, paths } = decided;
  const word = decision.replaceAll('_', ' ');
  return [
    `${service}: ${word}. ${because}`,
    ...paths.map((path) => `  ${path} → ${ruleOf(match(path), service) ?? '-'} → ${service} → ${word}`),
  ];
}

/** Names of files may contain anything, and must not control the terminal. */
function printable(line: string): string {
  return replaceUnseen(line, '\ufffd');
}
