/** No text from a push, a pull request, a request or a tool keeps the server busy for long. */

import { describe, expect, it } from 'vitest';
import { createWorld, PATH } from './git/test-support.ts';
import { hostileTexts, longestTurnMs } from './hostile-content.fixture.ts';
import { readRules } from './pipelines/rules/read-rules.ts';
import { DEFAULT_RULES } from './pipelines/rules/service-rules.ts';
import { createSharedFiles } from './pipelines/rules/shared-files.ts';
import { explainRange } from './pipelines/selection/explain-range.ts';
import { missingContent } from './pipelines/selection/missing-content.ts';
import { servicesNamedBy } from './pipelines/selection/touched-paths.ts';
import { changedRoots, readSource } from './pipelines/terraform/changed-roots.ts';
import { diagnose } from './pipelines/terraform/diagnosis.ts';
import { readOutputsJson } from './pipelines/terraform/outputs.ts';
import { summarizePlan } from './pipelines/terraform/plan-summary.ts';
import { captureProcess } from './process/capture.ts';
import { createRedactor } from './process/output/redact.ts';
import { code, fenced, plainLines, prose } from './reporters/comments/markdown.ts';
import { checkRemoteUrl } from './runs/texts/remote-url.ts';
import { normalizeDirectory } from './runs/texts/root-directory.ts';
import { parseDeployRequest } from './triggers/deploy/deploy-request.ts';
import { commandIn } from './triggers/github/command-in.ts';
import { parsePush } from './triggers/github/push-payload.ts';
import { parsePlanRequest } from './triggers/plan/plan-request.ts';
import { parseSyncBody } from './triggers/sync/start-sync.ts';
import { plainLine, styledLine, terminalLine } from './web/frame/ansi.ts';

/** The longest time for which one content may block the event loop. */
const MAX_TURN_MS = 200;
const REMOTES = { protocols: ['https', 'ssh'], hosts: ['github.com'] };
const PLANS = { ...REMOTES, allowedHosts: ['github.com'], apiUrl: 'https://api.github.com' };

/** Every parser of outside content. Each gets every hostile text in every place where it reads a text. */
const PARSERS: Record<string, (text: string) => unknown> = {
  'the paths of a push': (text) =>
    parsePush({ ref: 'refs/heads/main', commits: [{ added: [text], modified: text.split('\n') }] }),
  'the services that paths name': (text) =>
    servicesNamedBy([text, `platform/01.a/${text}`, ...text.split('\n')]),
  'the services that paths name by wildcards': (text) =>
    servicesNamedBy([text, `a/${text}/x`, ...text.split('\n')], {
      ...DEFAULT_RULES,
      services: [
        { match: '**/*a-{b}-{service}/**/{nn}-*-*-*', run: ['make'], inputs: ['{folder}/**/*a*-*'] },
      ],
      shared: [{ path: '**/*a*a*', services: null }],
      ignore: ['**/*1*/*-*-*', '!**/-*-*-/**'],
    }),
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
  'our Markdown with words of others': (text) => [code(text), prose(text), fenced(plainLines(text))],
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

describe('No content holds up the event loop for long', () => {
  it.each(Object.entries(PARSERS))('as %s', async (_parser, parse) => {
    expect(await slowOnes(parse, hostileTexts(100_000))).toEqual([]);
  });

  // Work that doubles with each level is already slow in a small text. A large text is refused as too deep.
  it.each([100, 300, 500])('as a small rules file of %i characters', async (size) => {
    expect(await slowOnes(readRules, hostileTexts(size))).toEqual([]);
  });

  // Longer texts are read in a thread, whose start takes most of the time here.
  it.each([600, 2_000])('as a rules file of %i characters that is nested', async (size) => {
    const nested = hostileTexts(size).filter(([name]) => /[[{?]/.test(name));
    expect(nested.length).toBeGreaterThan(10);
    expect(await slowOnes(readRules, nested.slice(0, 25))).toEqual([]);
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

/** Measures the explanation of a commit of these files, which are empty, and of these rules. */
async function explained(files: readonly string[], rules: string, options = { isFirst: true }) {
  const { mirror, base, head } = await repositoryOf(files, { '.iac-runner.yaml': rules });
  return longestTurnMs(() => explainRange(mirror, { from: options.isFirst ? null : base, to: head }));
}

async function repositoryOf(files: readonly string[], contents: Record<string, string>) {
  const world = await createWorld();
  const data = (text: string) => `data ${Buffer.byteLength(text)}\n${text}`;
  const lines = ['commit refs/heads/main', 'committer T <t@example.com> 0 +0000', data('Rules')];
  for (const [file, text] of Object.entries(contents)) lines.push(`M 100644 inline ${file}`, data(text));
  lines.push('', 'commit refs/heads/main', 'committer T <t@example.com> 1 +0000', data('Hostile'));
  for (const file of files) lines.push(`M 100644 inline ${file}`, data(''));
  const imported = await captureProcess({
    argv: ['git', 'fast-import', '--quiet'],
    cwd: world.remote,
    env: { PATH, HOME: world.root, GIT_CONFIG_NOSYSTEM: '1' },
    timeoutMs: 60_000,
    input: `${lines.join('\n')}\n`,
  });
  if (imported.kind !== 'exited' || imported.exitCode !== 0) throw new Error(JSON.stringify(imported));
  const { head } = await world.mirror.fetch();
  const base = await world.shell(['rev-parse', 'main~1'], world.remote);
  return { mirror: world.mirror, base, head, root: world.root };
}

describe('No repository holds up the event loop for long', { timeout: 120_000 }, () => {
  const many = <Item>(count: number, make: (index: number) => Item) =>
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
    [
      '100 ignored globs, 1,000 services with inputs everywhere, and 3,000 files',
      [...many(1_000, (i) => `a/s${i}/x`), ...many(3_000, (i) => `b/${'a-'.repeat(40)}${i}`)],
      `services:
  - { match: "**/{service}/x", run: [make], inputs: ["**/{service}-*a*"] }
ignore: [${many(100, (i) => `"**/a*${i}*-x"`).join()}]
`,
    ],
  ])('with %s', async (_name, files, rules) => {
    expect(await explained(files, rules)).toBeLessThan(MAX_TURN_MS);
  });

  it.each<[string, string[]]>([
    ['50 of them', many(50, (i) => `platform/01.s${i}/deploy.py`)],
    ['none of them', ['README']],
  ])('with 20,000 changed files of 25,000 services, where the repository has %s', async (_name, services) => {
    const named = many(25_000, (i) => `s${i}`).join();
    const rules = `services:
  - { match: "platform/{nn}.{service}/deploy.py", id: "{service}", task: t }
shared:
  - { path: libs, services: [${named}] }
`;
    const files = [...services, ...many(20_000, (i) => `libs/f${i}`)];
    expect(await explained(files, rules, { isFirst: false })).toBeLessThan(MAX_TURN_MS);
  });

  it.each(['filter=lfs', 'text'])(
    'with 20,000 files, 2,000 services and the attribute %s',
    async (attribute) => {
      const { mirror, head, root } = await repositoryOf(
        many(20_000, (i) => `assets/f${i}`),
        { '.gitattributes': `*.bin ${attribute}\n` },
      );
      const folders = many(2_000, (i) => `platform/01.service-${i}`);
      const checkout = { repository: mirror, revision: head, directory: root, folders };
      expect(await longestTurnMs(() => missingContent(checkout))).toBeLessThan(MAX_TURN_MS);
    },
  );

  it('with 2,000 changed files at 800 levels', async () => {
    const { mirror, base, head } = await repositoryOf(['a/main.tf'], { README: '' });
    const changed = many(2_000, (i) => `f${i}/${'a/'.repeat(800)}x.tfvars`);
    const plan = () => changedRoots({ repository: mirror, head, base, changed });
    expect(await longestTurnMs(plan)).toBeLessThan(MAX_TURN_MS);
  });

  it('with 20,000 pushed paths of 5,000 services', async () => {
    const shared = [{ path: 's', services: many(5_000, (i) => `s${i}`) }];
    const paths = many(20_000, (i) => `s/f${i}`);
    expect(await longestTurnMs(() => servicesNamedBy(paths, { ...DEFAULT_RULES, shared }))).toBeLessThan(
      MAX_TURN_MS,
    );
  });

  it('with 2,000 services and 20,000 shared paths, as earlier versions stored them', async () => {
    const shared = many(20_000, (i) => ({ path: `a${i}`, services: i === 0 ? ['s0'] : null }));
    const files = createSharedFiles({ ...DEFAULT_RULES, shared });
    const { asStoredBefore } = files.digests();
    const work = () => many(2_000, (i) => `s${i}`).map(asStoredBefore);
    expect(await longestTurnMs(work)).toBeLessThan(MAX_TURN_MS);
    expect(asStoredBefore('s0')).not.toBe(asStoredBefore('s1'));
  });
});
