/** Whatever a push, a pull request, a request or a tool says, it does not keep the server busy. */

import { describe, expect, it } from 'vitest';
import { hostileTexts, longestTurnMs } from './hostile-content.fixture.ts';
import { readRules } from './pipelines/read-rules.ts';
import { diagnose } from './pipelines/terraform/diagnosis.ts';
import { readOutputsJson } from './pipelines/terraform/outputs.ts';
import { summarizePlan } from './pipelines/terraform/plan-summary.ts';
import { servicesNamedBy } from './pipelines/touched-paths.ts';
import { createRedactor } from './process/redact.ts';
import { checkRemoteUrl } from './runs/remote-url.ts';
import { normalizeDirectory } from './runs/root-directory.ts';
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

  it('as a small rules file', async () => {
    expect(await slowOnes(readRules, hostileTexts(2_000))).toEqual([]);
  });

  it('as a large rules file', async () => {
    const large = hostileTexts(200_000).filter(([name]) =>
      /^(many keys|only "a:\\n"|only "\[\]"|many items)$/.test(name),
    );
    expect(large).toHaveLength(4);
    expect(await slowOnes(readRules, large)).toEqual([]);
  });
});
