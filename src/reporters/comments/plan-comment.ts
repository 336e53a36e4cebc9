/** Writes the comment with the plans of a pull request, in Markdown that no plan can break out of. Pure. */

import { type PlanSummary, stateChanges } from '../../runs/deployments/deployment.ts';
import { nextActionOf } from '../../runs/kinds/kinds.ts';
import type { PlanRun } from '../../runs/run.ts';
import { cutInTheMiddle } from '../../runs/texts/cut-in-the-middle.ts';
import { code, FENCES_LENGTH, fenced, plainLines, prose } from './markdown.ts';

/** A little less than the 65,536 characters that GitHub takes (https://docs.github.com/en/rest/issues/comments). */
const MAX_LENGTH = 65_000;
/** The number of characters that each plan gets at least. */
const MIN_BLOCK = 400;
const MAX_REMARKS = 20;
const CUT = '_More roots are in the full log: a comment holds no more._';
const LAST_LINES = 'Last lines of the log';

export interface RootReport {
  /** Null for a problem before any root was planned. */
  directory: string | null;
  plan: { summary: PlanSummary | null; text: string } | null;
  problem: { problem: string; nextAction: string; lines: readonly string[] } | null;
  /** The results of the checks of the plan. */
  checks: readonly CheckReport[];
}

export interface CheckReport {
  name: string;
  required: boolean;
  passed: boolean;
  /** One sentence with the verdict. */
  message: string;
  /** The last lines of its log. */
  lines: readonly string[];
}

interface Block {
  title: string;
  text: string;
}

interface Section {
  head: string[];
  /** The folded parts: the plan and the ends of logs. */
  blocks: Block[];
}

/** Each plan id has one comment. */
export function planMark(planId: string): string {
  return `<!-- runners-poc:plan:${planId} -->`;
}

export function planComment({
  run,
  roots,
  remarks = [],
  url,
}: {
  run: PlanRun;
  roots: readonly RootReport[];
  /** Sentences about the run as a whole. */
  remarks?: readonly string[];
  /** The address of the full log. */
  url: string;
}): string {
  const { repository, revision, planId } = run.input;
  const isOne = roots.length <= 1 && (run.input.roots === null || run.input.roots.length === 1);
  const directory = isOne ? (roots[0]?.directory ?? run.input.roots?.[0]?.directory ?? null) : null;
  const place = directory === null ? '' : ` · folder ${code(directory)}`;
  const heading = [
    planMark(planId),
    `### ${titleOf(run)}`,
    '',
    `${code(`${repository} @ ${revision}`)}${place} · [full log](${url})`,
    ...aboutRun(run, roots),
    ...remarkList(remarks),
  ];
  const sections = roots.map((root) => sectionOf(root, isOne));
  return fitted(heading, sections);
}

function titleOf({ state, reason, input }: PlanRun): string {
  const tools = new Set(input.roots?.map(({ tool }) => tool));
  const tool = tools.size === 1 && tools.has('tofu') ? 'OpenTofu' : 'Terraform';
  if (state === 'succeeded') return `${tool} plan`;
  if (reason === 'check_failed') return `${tool} plan did not pass its checks`;
  return state === 'awaiting_approval' ? `${tool} plan awaits approval` : `${tool} plan failed`;
}

function remarkList(remarks: readonly string[]): string[] {
  if (remarks.length === 0) return [];
  const shown = remarks.slice(0, MAX_REMARKS).map((remark) => `- ${prose(remark)}`);
  return ['', ...shown];
}

/** Returns the lines about the run as a whole. */
function aboutRun(run: PlanRun, roots: readonly RootReport[]): string[] {
  const { state, message, input } = run;
  if (state === 'awaiting_approval') {
    const what = `Nothing of ${code(input.revision)} runs until somebody with the right to do so has approved this commit.`;
    return ['', prose(message), '', what];
  }
  if (roots.length > 1 || (state === 'succeeded' && roots.length === 0)) return ['', `**${prose(message)}**`];
  if (state === 'succeeded' || roots.some(({ problem }) => problem !== null)) return [];
  const next = nextActionOf(run);
  return ['', `**${prose(message)}**`, ...(next === null ? [] : ['', prose(next)])];
}

function sectionOf({ directory, plan, problem, checks }: RootReport, isOne: boolean): Section {
  const title = isOne || directory === null ? [] : ['', `#### ${code(directory)}`];
  if (plan) {
    return {
      head: [
        ...title,
        '',
        `**${summaryLine(plan)}**`,
        ...(checks.length > 0 ? [''] : []),
        ...checks.map(verdict),
      ],
      blocks: [
        { title: 'Show the plan', text: plainLines(plan.text) },
        ...checks.flatMap(({ name, lines }) => logBlock(`${LAST_LINES} of ${name}`, lines)),
      ],
    };
  }
  if (!problem) return { head: title, blocks: [] };
  const said = ['', `**${prose(problem.problem)}**`, '', `Next step: ${prose(problem.nextAction)}`];
  return { head: [...title, ...said], blocks: logBlock(LAST_LINES, problem.lines) };
}

function verdict({ name, required, passed, message }: CheckReport): string {
  const said = passed ? prose(message) : `**${prose(message)}**`;
  return `- ${required ? 'Required check' : 'Check'} ${code(name)}: ${said}`;
}

/** `title` is our own text, or consists of plain letters. */
function logBlock(title: string, lines: readonly string[]): Block[] {
  const text = plainLines(lines.join('\n'));
  return text === '' ? [] : [{ title, text }];
}

/** Sums the plan up as the tool does. */
function summaryLine({ summary, text }: { summary: PlanSummary | null; text: string }): string {
  if (summary === null) {
    const said = /^(Plan: \d.*|No changes\..*)$/m.exec(text)?.[0];
    return said === undefined ? 'The plan could not be summed up.' : prose(said);
  }
  const { add, change, destroy, outputs } = summary;
  const others = stateChanges(summary);
  const all = [`${add} to add, ${change} to change, ${destroy} to destroy`, ...others];
  const plan = `Plan: ${all.join(', ')}.`;
  if (add + change + destroy + others.length > 0) return plan;
  return outputs.length > 0 ? `${plan} Only outputs change.` : `No changes. ${plan}`;
}

/** The folded blocks share the space that is left. Short blocks stay whole. The others get equal shares, and are cut in the middle. */
function fitted(heading: readonly string[], sections: readonly Section[]): string {
  const fixed: Section[] = [];
  let space = MAX_LENGTH - lengthOf(heading) - CUT.length - 2;
  for (const section of sections) {
    space -= lengthOf(section.head) + section.blocks.length * MIN_BLOCK;
    if (space < 0) break;
    fixed.push(section);
  }
  const isCut = fixed.length < sections.length;
  const blocks = fixed.flatMap((section) => section.blocks);
  const limit = shareOf(
    blocks.map((block) => folded(block, Number.POSITIVE_INFINITY).length + FENCES_LENGTH),
    Math.max(0, space) + blocks.length * MIN_BLOCK,
  );
  return [
    ...heading,
    ...fixed.flatMap((section) => [
      ...section.head,
      ...section.blocks.flatMap((block) => ['', folded(block, limit)]),
    ]),
    ...(isCut ? ['', CUT] : []),
  ].join('\n');
}

function lengthOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + 1, 0) + 1;
}

/** Returns the longest length for each block with which all blocks fit. */
function shareOf(lengths: readonly number[], space: number): number {
  let left = space;
  for (const [index, length] of lengths.toSorted((a, b) => a - b).entries()) {
    const share = Math.floor(left / (lengths.length - index));
    if (length > share) return share;
    left -= length;
  }
  return Number.POSITIVE_INFINITY;
}

/** `limit` is the length of the whole block, in characters. */
function folded({ title, text }: Block, limit: number): string {
  const before = `<details>\n<summary>${title}</summary>\n\n`;
  const after = '\n\n</details>';
  const space = Math.max(0, limit - before.length - after.length - FENCES_LENGTH);
  return before + fenced(cutInTheMiddle(text, space)) + after;
}
