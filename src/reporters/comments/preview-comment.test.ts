import { describe, expect, it } from 'vitest';
import type { Explanation, ServiceDecision } from '../../runs/run-events.ts';
import { aPreview } from '../stored-runs.fixture.ts';
import { code, prose } from './markdown.ts';
import { previewComment } from './preview-comment.ts';

describe('code', () => {
  it.each([
    ['plain', 'libs/a b.py', '`libs/a b.py`'],
    ['a mention and a reference', '@octocat #1', '`@octocat #1`'],
    ['backticks', 'a`b``c', '```a`b``c```'],
    ['backticks at its ends', '`a`', '`` `a` ``'],
    ['spaces at its ends', ' a ', '`  a  `'],
    ['nothing', '', '`  `'],
    ['line breaks and controls', 'a\nb\r\x1b[31m', '`a\ufffdb\ufffd\ufffd[31m`'],
    ['marks of direction', 'a\u202eb', '`a\ufffdb`'],
    ['half a character', 'a\ud83d', '`a\ufffd`'],
    ['HTML', '</details>', '`</details>`'],
  ])('shows %s as it is', (_what, text, expected) => {
    expect(code(text)).toBe(expected);
  });

  it('cuts a very long text', () => {
    expect(code('x'.repeat(5_000))).toBe(`\`${'x'.repeat(300)}…\``);
  });
});

describe('prose', () => {
  it.each([
    ['Files in platform/01.a changed since abc12345.', 'Files in `platform/01.a` changed since `abc12345`.'],
    ['Merging this will sync 2 service(s)', 'Merging this will sync 2 service(s)'],
    ['1. not a list', '`1`. not a list'],
    ['# @you GH-1 **bold** <b> www.example.com', '`#` `@you` `GH-1` `**bold**` `<b>` `www.example.com`'],
    ['needs.a: expected "x"', '`needs.a`: expected `"x"`'],
    ['a\n---\nb', 'a `---` b'],
  ])('%j', (text, expected) => {
    expect(prose(text)).toBe(expected);
  });
});

function decided(
  service: string,
  decision: ServiceDecision['decision'],
  paths: string[] = [],
): ServiceDecision {
  return { service, folder: `platform/01.${service}`, wave: 1, decision, because: 'Since then.', paths };
}

function explanation(services: ServiceDecision[], unmatched: string[] = []): Explanation {
  return { revision: 'a'.repeat(40), notes: ['A note.'], services, unmatched };
}

const url = 'https://iac.example.com/runs/1?key=k';

describe('The comment of a preview', () => {
  it('has a part for each kind of decision', () => {
    const run = aPreview({ state: 'succeeded', message: 'Merging this will sync 1 service(s)' });
    const services = [
      decided('a', 'run', ['platform/01.a/x']),
      decided('b', 'removed'),
      decided('c', 'pinned'),
      decided('d', 'already_due'),
      decided('e', 'not_chosen'),
    ];
    const body = previewComment({ run, explanation: explanation(services, ['README.md']), url });
    expect(body.split('\n')).toEqual([
      '<!-- iac-runner:preview -->',
      '### Merging this will sync 1 service(s)',
      '',
      `Commit \`aaaaaaaa\` into \`main\` · [the whole preview](${url})`,
      '',
      '- A note.',
      '',
      '#### Would be synced',
      '',
      '- `a`: Since then.',
      '  - `platform/01.a/x`',
      '',
      '#### Would be reported as removed',
      '',
      '- `b`: Since then.',
      '',
      '#### Would be left alone',
      '',
      '- `c`: Since then.',
      '',
      '#### Already due, with or without this pull request',
      '',
      '- `d`: Since then.',
      '',
      '<details>',
      '<summary>Not affected: 1</summary>',
      '',
      '- `e`',
      '',
      '</details>',
      '',
      '<details>',
      '<summary>Changed files that belong to no service: 1</summary>',
      '',
      '- `README.md`',
      '',
      '</details>',
    ]);
  });

  it('says what to do if there is no explanation', () => {
    const run = aPreview({
      state: 'errored',
      reason: 'git_unavailable',
      message: 'The pull request could not be looked at',
    });
    const body = previewComment({ run, explanation: null, url });
    expect(body).toContain('### The pull request could not be looked at');
    expect(body).toContain('Check that the repository can be reached');
  });

  it.each([
    ['in the list', 'run'],
    ['in a folded part', 'not_chosen'],
  ] as const)('is cut between two lines %s and says so', (_where, decision) => {
    const many = Array.from({ length: 3_000 }, (_, i) => decided(`service-${i}-${'x'.repeat(40)}`, decision));
    const run = aPreview({ state: 'succeeded', message: 'Merging this will sync 3000 service(s)' });
    const body = previewComment({ run, explanation: explanation(many), url });
    expect(body.length).toBeLessThanOrEqual(65_536);
    expect(body.length).toBeGreaterThan(60_000);
    expect(body.endsWith('_The rest is cut here: a comment holds no more._')).toBe(true);
    expect(body.match(/<details>/g)?.length).toBe(body.match(/<\/details>/g)?.length);
    const [last = ''] = body
      .split('\n')
      .filter((line) => line.startsWith('- `service-'))
      .slice(-1);
    expect(last).toMatch(/x{40}`/);
  });
});
