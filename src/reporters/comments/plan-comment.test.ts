import { describe, expect, it } from 'vitest';
import { aPlan } from '../stored-runs.fixture.ts';
import { planComment, type RootReport } from './plan-comment.ts';

const url = 'https://iac.example.com/runs/1?key=k';
const SUMMARY = { add: 1, change: 2, destroy: 3, replace: 0, resources: [], omitted: 0, outputs: [] };
const DONE = aPlan({ state: 'succeeded', message: 'Planned' });

function planned(text: string, directory = 'infra'): RootReport {
  return { directory, plan: { summary: SUMMARY, text }, problem: null, checks: [] };
}

/** Returns the text between the fences of the only block, by the rules of CommonMark. */
function blockOf(body: string): { content: string; after: string } {
  const lines = body.split('\n');
  const open = lines.findIndex((line) => line.startsWith('```'));
  const fence = /^`+/.exec(lines[open] ?? '')?.[0] ?? '';
  const close = lines.findIndex((line, i) => {
    const [, run = ''] = /^ {0,3}(`+)[ \t]*$/.exec(line) ?? [];
    return i > open && run.length >= fence.length;
  });
  return { content: lines.slice(open + 1, close).join('\n'), after: lines.slice(close + 1).join('\n') };
}

describe('The comment of a plan', () => {
  it('shows the commit, the folder and the summary, and folds the plan', () => {
    const body = planComment({ run: DONE, roots: [planned('+ a\n  b')], url });
    expect(body.split('\n')).toEqual([
      '<!-- runners-poc:plan:p1 -->',
      '### OpenTofu plan',
      '',
      `\`acme/infra @ ${'a'.repeat(40)}\` · folder \`infra\` · [full log](${url})`,
      '',
      '**Plan: 1 to add, 2 to change, 3 to destroy.**',
      '',
      '<details>',
      '<summary>Show the plan</summary>',
      '',
      '```text',
      '+ a',
      '  b',
      '```',
      '',
      '</details>',
    ]);
  });

  it('F48b: shows the results of checks, whatever text they have', () => {
    const evil = '</details> @org/everyone ``` <img src=x>';
    const checks = [
      { name: 'policy', required: true, passed: false, message: evil, lines: [evil, '```'] },
      { name: 'cost', required: false, passed: true, message: 'Passed', lines: [] },
    ];
    const run = aPlan({
      state: 'failed',
      reason: 'check_failed',
      message: 'Required check not passed: policy',
    });
    const body = planComment({ run, roots: [{ ...planned('+ a'), checks }], url });
    expect(body).toContain('### OpenTofu plan did not pass its checks');
    expect(body).toContain('- Check `cost`: Passed\n');
    expect(body).toContain('+ a');
    expect(body).toContain(`\`\`\`\`text\n${evil}\n\`\`\`\n\`\`\`\``);
    const outside = body.replace(`${evil}\n\`\`\``, '').replace(/(`+)[^`](?:.*?[^`])??\1(?!`)/g, '');
    expect(outside).not.toMatch(/@org|<img/);
    const long = checks.map((check) => ({ ...check, lines: Array(9_000).fill('w') }));
    const many = Array.from({ length: 90 }, (_, i) => ({ ...planned('x', `r${i}`), checks: long }));
    expect(planComment({ run: aPlan({}, { roots: null }), roots: many, url }).length).toBeLessThanOrEqual(
      65_000,
    );
  });

  it('shows each of several roots', () => {
    const roots = [planned('A', 'envs/a'), planned('B', 'envs/b')];
    const run = aPlan({ state: 'succeeded', message: '2 roots planned' }, { roots: null, planId: 'pr' });
    const body = planComment({ run, roots, url });
    expect(body).toContain('### Terraform plan\n');
    expect(body).toContain('**2 roots planned**');
    expect(body.indexOf('#### `envs/a`')).toBeLessThan(body.indexOf('#### `envs/b`'));
    expect(body.match(/<details>/g)).toHaveLength(2);
  });

  it('shows a failure with its cause, the next step and the end of the log', () => {
    const problem = {
      problem: 'The state is locked',
      nextAction: 'Wait, then push.',
      lines: ['Error: x', '@you'],
    };
    const run = aPlan({ state: 'failed', message: 'plan failed' });
    const body = planComment({ run, roots: [{ directory: 'infra', plan: null, problem, checks: [] }], url });
    expect(body).toContain('### OpenTofu plan failed');
    expect(body).toContain('**The state is locked**');
    expect(body).toContain('Next step: Wait, then push.');
    expect(blockOf(body).content).toBe('Error: x\n@you');
  });

  it('shows a run that ended before any root', () => {
    const run = aPlan({ state: 'errored', reason: 'credentials_lost', message: 'The token was deleted' });
    const body = planComment({ run, roots: [], url });
    expect(body).toContain('**The token was deleted**');
    expect(body).toContain('folder `infra`');
  });

  it('names the commit of a head that needs an approval', () => {
    const run = aPlan({ state: 'awaiting_approval', message: 'Heads of forks need an approval' });
    const body = planComment({ run, roots: [], url });
    expect(body).toContain('### OpenTofu plan awaits approval');
    expect(body).toContain(`\`${'a'.repeat(40)}\``);
  });

  it.each([
    ['fences', '```\n@org/everyone\n```` \n~~~\n`````'],
    ['very long fences', `${'`'.repeat(60_000)}\n@org/everyone`],
    ['fences behind carriage returns', 'a\r```\r\n@org/everyone\r'],
    ['ends of HTML', '</details>\n\n</summary>\n--> <img src=x>\n\n# Big\n'],
    ['references', '#1 GH-1 @octocat https://evil.example fixes #2'],
    ['controls', '\u001b[31mred\u0000\u202e\u2028```\n'],
    ['70,000 characters', 'x'.repeat(70_000)],
    ['70,000 lines', '```\n'.repeat(70_000)],
    ['5 MB', `${'y'.repeat(99)}\n`.repeat(50_000)],
  ])('F48b: nothing in a plan breaks out of its block: %s', (_what, text) => {
    const body = planComment({ run: DONE, roots: [planned(text)], url });
    expect(body.length).toBeLessThanOrEqual(65_000);
    const { content, after } = blockOf(body);
    expect(after).toBe('\n</details>');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left.
    expect(content).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u2028\u202e]/);
    const before = body.slice(0, body.indexOf('<details>'));
    expect(before).not.toMatch(/everyone|octocat|img/);
  });

  it('F48b: nothing in messages, folders or logs is Markdown, a mention or HTML', () => {
    const evil = '</details> @org/everyone #1 ``` --> <img src=x> [a](http://evil)';
    const problem = { problem: evil, nextAction: 'Look.', lines: [evil] };
    const run = aPlan({ state: 'failed', message: evil }, { roots: null });
    const body = planComment({
      run,
      roots: [{ directory: evil, plan: null, problem, checks: [] }, planned('x', 'b')],
      url,
    });
    const outside = body
      .split('\n')
      .slice(1)
      .filter((line) => !line.startsWith('```'))
      .join('\n')
      .replace(/(`+)[^`](?:.*?[^`])??\1(?!`)/g, '')
      .replace(evil, '');
    expect(outside).not.toMatch(/@org|#1|<img|http:\/\/evil/);
  });

  it('is cut in the middle, on a line boundary, and says so', () => {
    const lines = Array.from({ length: 5_000 }, (_, i) => `line ${i} ${'x'.repeat(40)}`);
    const body = planComment({ run: DONE, roots: [planned(lines.join('\n'))], url });
    expect(body.length).toBeLessThanOrEqual(65_000);
    expect(body.length).toBeGreaterThan(60_000);
    const kept = blockOf(body).content.split('\n');
    expect(kept[0]).toBe(lines[0]);
    expect(kept.at(-1)).toBe(lines.at(-1));
    expect(kept.filter((line) => !lines.includes(line))).toEqual([
      expect.stringMatching(/^… \d+ characters left out …$/),
    ]);
  });

  it('keeps short blocks whole, then leaves out roots and says so', () => {
    const roots = [planned('short', 'a'), planned('z\n'.repeat(80_000), 'b'), planned('brief', 'c')];
    const run = aPlan({ state: 'succeeded', message: '3 roots' }, { roots: null });
    const body = planComment({ run, roots, url });
    expect(body).toContain('\nshort\n');
    expect(body).toContain('\nbrief\n');
    expect(body.length).toBeGreaterThan(60_000);
    expect(body.length).toBeLessThanOrEqual(65_000);
    const many = Array.from({ length: 800 }, (_, i) => planned('w\n'.repeat(500), `root-${i}`));
    const crowd = planComment({ run, roots: many, url });
    expect(crowd.length).toBeLessThanOrEqual(65_000);
    expect(crowd).toContain('_More roots are in the full log');
    expect(crowd.match(/<details>/g)?.length).toBe(crowd.match(/<\/details>/g)?.length);
  });
});
