/** The text of docs/configuration.md, made from the variables that the program really reads. */

import type { Variable } from '../src/config/variable.ts';
import { VARIABLES } from '../src/config.ts';

const BEFORE = `# Configuration

<!-- Written by \`npm run docs\` from the variables in src/config/. Change the text there. -->

iac-runner is configured by environment variables alone; there is no configuration file and no option of \`serve\`.
They are read once, at the start. When one is wrong the program does not start: it ends with exit code 3 and a line
for each wrong variable that says what was expected, with an example. It never prints a value, which may be a secret.

A variable that is none of these, but begins like them or is one letter away from one, is probably a mistake: the log
names it at the start of \`serve\` and \`worker\`, with the nearest that there is and without its value.

Each variable that holds a secret, such as \`WEBHOOK_SECRET\`, may be given as a file: \`WEBHOOK_SECRET_FILE\` names a file
with the value, as Docker and Kubernetes provide secrets. One newline at its end is left out. Setting both, or a file that
is missing, empty or larger than 64 KiB, stops the start.

An empty or blank value counts as not set. The program reads no \`.env\` file itself: Compose, systemd and the like do.

`;

const AFTER = `
Besides these:

- What tasks get, and which variables they can never get, is described in [tasks.md](tasks.md).
- \`sync\`, \`rollback\`, \`unpin\` and \`sign\` read only \`SYNC_SECRET\`, \`WEBHOOK_SECRET\`, \`IAC_RUNNER_URL\`, \`PUBLIC_URL\`, \`INTERNAL_DOMAIN\` and \`WEBHOOK_PORT\`.
- \`deliveries\`, \`hold\`, \`release\` and \`rollback --override-hold\` read \`IAC_RUNNER_TOKEN\`, and the last four of these.
`;

/** The whole document, ready to be written. */
export function configurationDocument(): string {
  const rows = Object.values(VARIABLES).map((variable) => {
    const { name, description, expected, example } = variable;
    const shown = isValue(example) ? code(example) : example;
    return row([code(name), defaultCell(variable), `${description} Expected: ${expected}.`, shown]);
  });
  const table = [
    row(['Variable', 'Default', 'Description', 'Example']),
    row(['---', '---', '---', '---']),
    ...rows,
  ];
  return `${BEFORE}${table.join('\n')}\n${AFTER}`;
}

function row(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}

function defaultCell({ default: fallback, unset = 'required' }: Variable<unknown>): string {
  if (fallback === undefined) return unset;
  return fallback === '' ? 'none' : code(fallback);
}

/** Examples that begin with an article describe a value instead of being one. */
export function isValue(example: string): boolean {
  return !/^(the|an?) /.test(example);
}
