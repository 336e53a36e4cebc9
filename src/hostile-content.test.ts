/** Whatever a push, a pull request, a request or a tool says, it does not keep the server busy. */

import { describe, expect, it } from 'vitest';
import { createWorld, PATH } from './git/test-support.ts';
import { hostileTexts, longestTurnMs } from './hostile-content.fixture.ts';
import { explainRange } from './pipelines/explain-range.ts';
import { readRules } from './pipelines/read-rules.ts';
import { readSource } from './pipelines/terraform/changed-roots.ts';
import { diagnose } from './pipelines/terraform/diagnosis.ts';
import { readOutputsJson } from './pipelines/terraform/outputs.ts';
import { summarizePlan } from './pipelines/terraform/plan-summary.ts';
import { servicesNamedBy } from './pipelines/touched-paths.ts';
import { captureProcess } from './process/capture.ts';
import { createRedactor } from './process/redact.ts';
import { code, fenced, plainLines, prose } from './reporters/markdown.ts';
import { checkRemoteUrl } from './runs/remote-url.ts';
import { normalizeDirectory } from './runs/root-directory.ts';
import { commandIn } from './triggers/command-in.ts';
import { parseDeployRequest } from './triggers/deploy-request.ts';
import { parsePlanRequest } from './triggers/plan-request.ts';
import { parsePush } from './triggers/push-payload.ts';
import { parseSyncBody } from './triggers/sync-api.ts';
import { plainLine, styledLine, terminalLine } from './web/ansi.ts';

/** What a server may be busy for, by contract, with one content. */
const MAX_TURN_MS = 200;
const REMOTES = { protocols: ['https', 'ssh'], hosts: ['github.com'] };
const PLANS = { ...REMOTES, allowedHosts: ['github.com'], apiUrl: 'https://api.github.com' };

/** Every parser of outside content; each is given every hostile text, wherever a text may stand in it. */
const PARSERS: Record<string, (text: string) => unknown> = {
  'the paths of a push': (text) =>
    parsePush({ ref: 'refs/heads/main', commits: [{ added: [text], modified: text.split('\n') }] }),
  'the services that paths name': (text) =>
    servicesNamedBy([text, `platform/01.a/${text}`, ...text.split('\n')]),
  'the body of /sync': (text) =>
    refused(() => parseSyncBody({ services: [text], [text]: text, revision: text })),
  'the body of /deploy': (text) =>
    parseDeployRequest(
      {
        tool: text,
        git_url: `https://github.com/${text}`,
        git_ref: text,
        path: text,
        init_flags: text,
        plan_flags: `-var="${text}"`,
        env_vars: { [text]: text },
        labels: text.split('\n'),
      },
      REMOTES,
    ),
  'a request for a plan': (text) =>
    parsePlanRequest(
      {
        request_id: text,
        repo: { full_name: text, clone_url: `https://github.com/${text}` },
        pull_request: { number: 1, head_sha: text, head_ref: text, base_ref: text },
        installation: { token: text },
        work: { dir: text, tofu_version: text, plan_id: text },
        github_api_base_url: text,
      },
      PLANS,
    ),
  'the address of a repository': (text) =>
    checkRemoteUrl(`ssh://git@github.com/${text}`, { ...REMOTES, what: 'git_url' }),
  'the directory of a root': normalizeDirectory,
  'the JSON of a plan': (text) =>
    summarizePlan(
      JSON.stringify({
        resource_changes: [{ address: text, change: { actions: [text] } }],
        output_changes: {},
      }),
    ) ?? summarizePlan(text),
  'the JSON of outputs': readOutputsJson,
  'what a tool said last': (text) =>
    diagnose(text.split('\n'), { state: 'failed', reason: 'step_failed', message: text }),
  'a command in a comment': commandIn,
  'a file of Terraform': (text) =>
    readSource({ path: 'a', calls: [], reads: new Set(), hasBackend: false }, text),
  'Markdown of ours with words of others': (text) => [code(text), prose(text), fenced(plainLines(text))],
  'a line of a log': (text) => [plainLine(text), styledLine(text), terminalLine(text)],
  'a log with secrets': createRedactor(['aaaaaa', 'a.a.a.', '- - - ']),
};

function refused(parse: () => unknown): unknown {
  try {
    return parse();
  } catch (error) {
    return error;
  }
}

/** Names the texts that took longer. */
async function slowOnes(
  parse: (text: string) => unknown,
  texts: readonly [name: string, text: string][],
): Promise<string[]> {
  const slow: string[] = [];
  for (const [name, text] of texts) {
    const ms = await longestTurnMs(() => parse(text));
    if (ms > MAX_TURN_MS) slow.push(`${name}: ${Math.round(ms)} ms`);
  }
  return slow;
}

describe('No content holds up the event loop for long', { timeout: 120_000 }, () => {
  it.each(Object.entries(PARSERS))('as %s', async (_parser, parse) => {
    expect(await slowOnes(parse, hostileTexts(100_000))).toEqual([]);
  });

  // What doubles with each level is slow long before a text is large, and too deep to be read when it is.
  it.each([100, 300, 600, 1_000, 2_000])('as a small rules file of %i characters', async (size) => {
    expect(await slowOnes(readRules, hostileTexts(size))).toEqual([]);
  });

  it.each([100, 200, 400])('as a small rules file with keys that are %i levels deep', async (levels) => {
    const texts = ['? ', '{', '{[', '{? ', '- ? ', '[{'].map((piece): [string, string] => [
      piece,
      `${piece.repeat(levels)}1`,
    ]);
    const closed: [string, string][] = [
      ['{ closed', `${'{'.repeat(levels)}${'}: 1'.repeat(levels)}`],
      ['{[ closed', `${'{['.repeat(levels)}${']: 1}'.repeat(levels)}`],
      ['{? closed', `${'{? '.repeat(levels)}${'}'.repeat(levels)}`],
      ['[ closed', `${'['.repeat(levels)}${']'.repeat(levels)}`],
    ];
    expect(await slowOnes(readRules, [...texts, ...closed])).toEqual([]);
  });

  it('as a large rules file', async () => {
    const large = hostileTexts(200_000).filter(([name]) =>
      /^(many keys|only "a:\\n"|only "\[\]"|many items)$/.test(name),
    );
    expect(large).toHaveLength(4);
    expect(await slowOnes(readRules, large)).toEqual([]);
  });
});

/** A commit of these files, all of them empty but the rules, and its explanation when nothing was ever synced. */
async function explained(files: readonly string[], rules: string) {
  const world = await createWorld();
  const data = (text: string) => `data ${Buffer.byteLength(text)}\n${text}`;
  const lines = ['commit refs/heads/main', 'mark :1', 'committer T <t@example.com> 0 +0000', data('Hostile')];
  for (const file of files) lines.push(`M 100644 inline ${file}`, data(''));
  lines.push('M 100644 inline .iac-runner.yaml', data(rules), '');
  const imported = await captureProcess({
    argv: ['git', 'fast-import', '--quiet'],
    cwd: world.remote,
    env: { PATH, HOME: world.root, GIT_CONFIG_NOSYSTEM: '1' },
    timeoutMs: 60_000,
    input: lines.join('\n'),
  });
  if (imported.kind !== 'exited' || imported.exitCode !== 0) throw new Error(JSON.stringify(imported));
  const { head } = await world.mirror.fetch();
  return longestTurnMs(() => explainRange(world.mirror, { from: null, to: head }));
}

describe('No repository holds up the event loop for long', { timeout: 120_000 }, () => {
  const many = (count: number, make: (index: number) => string) =>
    Array.from({ length: count }, (_, i) => make(i));
  it.each<[string, string[], string]>([
    ['20,000 folders of one id', many(20_000, (i) => `platform/${i}.a/deploy.py`), ''],
    [
      '10,000 shared paths and 10,000 shared files',
      ['platform/01.a/deploy.py', ...many(10_000, (i) => `libs/f${i}`)],
      `shared:\n  - libs\n${many(10_000, (i) => `  - libs/g${i}\n`).join('')}`,
    ],
    [
      'a chain of 6,000 needs',
      ['platform/01.s1/deploy.py'],
      `needs:\n${many(6_000, (i) => `  platform/s${i}: [platform/s${i + 1}]\n`).join('')}`,
    ],
    [
      '2,000 rules and 10,000 folders',
      many(10_000, (i) => `a/1.s${i}/x`),
      `services:\n${many(2_000, (i) => `  - { match: "a/{nn}.{service}/x${i}", id: "{service}", task: t }\n`).join('')}`,
    ],
  ])('with %s', async (_name, files, rules) => {
    expect(await explained(files, rules)).toBeLessThan(MAX_TURN_MS);
  });
});
