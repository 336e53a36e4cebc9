/**
 * `npm run field -- --repository PATH --rules FILE` plays the last commits of any repository as pushes to a real server.
 * It exits with 1 if the server and an independent reading of the rules disagree.
 */

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { git } from '../support/git.ts';
import { readFieldRules } from './expected.ts';
import { createHistory, type FieldPush } from './pushes.ts';
import { createFieldWorld, type PlayedPush, playPush } from './replay.ts';

const { values } = parseArgs({
  options: {
    repository: { type: 'string' },
    rules: { type: 'string' },
    pushes: { type: 'string', default: '100' },
    'commits-per-push': { type: 'string', default: '1' },
    end: { type: 'string', default: 'HEAD' },
  },
});

function played(all: readonly PlayedPush[]): string[] {
  const disagreeing = all.filter(({ disagreements }) => disagreements.length > 0);
  const sum = (count: (push: PlayedPush) => number) => all.reduce((total, push) => total + count(push), 0);
  const services = all.map((push) => push.services);
  return [
    `pushes: ${all.length}, of which ${all.filter(({ endMs }) => endMs === null).length} had nothing to run`,
    `services: ${Math.min(...services)} to ${Math.max(...services)}`,
    `services that ran: ${sum(({ expected }) => expected.ran.length)}`,
    `services that were removed: ${sum(({ expected }) => expected.removed.length)}`,
    `answer: ${times(all.map(({ answerMs }) => answerMs))}`,
    `from the delivery to the last status: ${times(all.flatMap(({ endMs }) => endMs ?? []))}`,
    `pushes with a disagreement: ${disagreeing.length}`,
  ];
}

function times(list: readonly number[]): string {
  const sorted = list.toSorted((one, other) => one - other);
  return `median ${sorted[Math.floor(sorted.length / 2)] ?? 0} ms, at most ${sorted.at(-1) ?? 0} ms`;
}

async function main(source: string, rulesFile: string): Promise<boolean> {
  const text = await readFile(rulesFile, 'utf8');
  const end = await git(source, ['rev-parse', '--verify', `${values.end}^{commit}`]);
  console.log(`${source} up to ${end}, ${text.trim().split('\n').length} lines of rules`);
  const wanted = { source, rules: rulesFile, end, pushes: Number(values.pushes) };
  const rules = readFieldRules(text);
  let pushes: FieldPush[] = [];
  const world = await createFieldWorld(rulesFile, rules, async (target) => {
    const history = await createHistory(target, {
      ...wanted,
      commitsPerPush: Number(values['commits-per-push']),
    });
    pushes = history.pushes;
    return history.start;
  });
  const all: PlayedPush[] = [];
  let isWrong = true;
  try {
    for (const push of pushes) {
      const result = await playPush(world, push);
      all.push(result);
      for (const disagreement of result.disagreements) console.log(`${push.original}: ${disagreement}`);
    }
    isWrong = all.some(({ disagreements }) => disagreements.length > 0);
    if (isWrong) console.log(`Everything is in ${world.stage.folder}`);
  } finally {
    await world.stage.close({ keep: isWrong });
  }
  const violations = world.stage.github.violations.map((violation) => `GitHub would not take: ${violation}`);
  console.log([...played(all), ...violations].join('\n'));
  return !isWrong && violations.length === 0;
}

if (values.repository === undefined || values.rules === undefined) {
  console.error('Give --repository PATH and --rules FILE.');
  process.exit(2);
}
process.exit((await main(values.repository, values.rules)) ? 0 : 1);
