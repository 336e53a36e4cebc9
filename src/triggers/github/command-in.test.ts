import { describe, expect, it } from 'vitest';
import { longestTurnMs } from '../../hostile-content.fixture.ts';
import { commandIn } from './command-in.ts';

const APPLY = 'iac-runner apply';
const LENGTH = 65_000;

describe('The command in a comment', () => {
  it.each<[string, string]>([
    ['the whole comment', APPLY],
    ['one with white space around it', `\r\n   ${APPLY} \t\r\n`],
    ['a line between paragraphs', `Looks good, let us go.\n\n  ${APPLY}  \n\nThanks!`],
    ['a line of a paragraph', `Looks good, let us go.\n${APPLY}\nThanks!`],
    ['the first of two', `${APPLY}\niac-runner plan`],
    ['what stands after a quotation and a blank line', `> iac-runner plan\n\n${APPLY}`],
    ['what stands after a code block', `\`\`\`sh\niac-runner plan\n\`\`\`\n${APPLY}`],
    ['what stands after a code block of tildes', `~~~ \`\niac-runner plan\n   ~~~~ \n${APPLY}`],
    ['what stands after a list', `- one\n- two\n\n${APPLY}`],
    ['what stands after a sign that is no tag', `1 < 2, and I <3 it\n\n${APPLY}`],
    ['what stands after a heading', `# Done\n${APPLY}`],
    ['what stands after a line across', `---\n${APPLY}`],
    ['what stands before a blank line and a line across', `${APPLY}\n\n---`],
    ['what stands after a table and a blank line', `a | b\n--|--\n1 | 2\n\n${APPLY}`],
    ['what stands before HTML', `${APPLY}\n\n<!-- a template -->`],
  ])('is %s', (_what, body) => {
    expect(commandIn(body)).toBe('apply');
  });

  it.each<[string, string]>([
    ['in a sentence', `Please ${APPLY} now`],
    ['with more on its line', `${APPLY} --force`],
    ['of another program', `my-${APPLY}`],
    ['in a quotation', `> ${APPLY}`],
    ['in a quotation that goes on without its mark', `> I would say\n${APPLY}`],
    ['in an indented code block', `Like this:\n\n    ${APPLY}`],
    ['behind a tab', `\t${APPLY}`],
    ['in a code block', `\`\`\`\n${APPLY}\n\`\`\``],
    ['in a code block that never ends', `~~~\n${APPLY}`],
    ['in a code block with a shorter fence in it', `\`\`\`\`\n\`\`\`\n${APPLY}\n\`\`\`\n\`\`\`\``],
    ['in a code block with another fence in it', `\`\`\`\n~~~\n${APPLY}`],
    ['in a code block with a fence of words in it', `\`\`\`\n\`\`\` sh\n${APPLY}`],
    [
      'in a code block after an indented fence that ended by itself',
      `- a\n  \`\`\`\n  b\nc\n\`\`\`\n${APPLY}\n\`\`\``,
    ],
    ['in a code block of a list', `- \`\`\`\n  ${APPLY}\n  \`\`\``],
    ['in a code span over several lines', `see \`\n${APPLY}\n\``],
    ['in <pre>', `<pre>\n${APPLY}\n</pre>`],
    ['in <pre>, after a blank line', `<pre>\n\n${APPLY}\n\n</pre>`],
    ['in <pre> within a line', `As in <pre>\n\n${APPLY}`],
    ['in a hidden comment', `<!--\n${APPLY}\n-->`],
    ['in a hidden comment, after a blank line', `Fine.\n\n<!-- to start it:\n\n${APPLY}\n\n-->`],
    ['in <details>', `<details>\n\n${APPLY}\n\n</details>`],
    ['in a processing instruction', `<?\n\n${APPLY}\n?>`],
    ['in a declaration', `<!X\n\n${APPLY}\n>`],
    ['in the title of a link', `[a](b "\n${APPLY}\n")`],
    ['in the title of a reference that is never shown', `[a]: b "\n${APPLY}\n"`],
    ['in a footnote that is never shown', `[^1]: see\n${APPLY}`],
    ['that is a row of a table', `a | b\n--|--\n${APPLY}`],
    ['that is a row of a table of one column', `|a|\n|-|\n${APPLY}`],
    ['that is a later row of a table', `a | b\n:-|-:\n1 | 2\n${APPLY}`],
    ['that is the head of a table', `${APPLY}\n|-|\n| 1 |`],
    ['that is the head of a table of dashes and colons', `${APPLY}\n:-:`],
    ['that is a heading', `${APPLY}\n===`],
    ['that is a heading of the second level', `${APPLY}\n  --- `],
    ['that ends the text of a heading', `Well:\n${APPLY}\n=`],
    ['that begins the text of a heading', `${APPLY}\nnow\n---`],
    ['struck out', `~~no:\n${APPLY}\n~~`],
    ['in a comment longer than any', `${APPLY}\n${'a'.repeat(70_000)}`],
    ['in other letters', 'IAC-RUNNER APPLY'],
    ['behind a blank of another kind', `\u00a0${APPLY}`],
  ])('is none %s', (_what, body) => {
    expect(commandIn(body)).toBeNull();
  });

  it.each([
    '`',
    '~',
    '<',
    '<a ',
    '[',
    '> ',
    '- ',
    '\n',
    ' ',
    '\t',
    '```\n',
    '~~~ a\n',
    '```a`',
    'iac-runner apply ',
    '   \n',
    '\r',
  ])('is looked for within 200 ms in a comment full of %j', async (piece) => {
    const body = piece.repeat(LENGTH / piece.length);
    expect(await longestTurnMs(() => commandIn(`${body}\n${APPLY}x`))).toBeLessThan(200);
  });
});
