/** The text of docs/configuration.md, made from the variables that the program really reads. */

import type { Variable } from '../src/config/variable.ts';
import { VARIABLES } from '../src/config.ts';

const BEFORE = `# Configuration

<!-- Written by \`npm run docs\` from the variables in src/config/. Change the text there. -->

iac-runner is configured by environment variables; \`serve\` has no options. They are read once, at the start. When one is
wrong the program does not start: it ends with exit code 3 and a line for each wrong variable that says what was expected,
with an example. It never prints a value, which may be a secret. Several repositories, and environments such as staging and
production, are described in [a file](#the-configuration-file).

A variable that is none of these, but begins like them or is one letter away from one, is probably a mistake: the log
names it at the start of \`serve\` and \`worker\`, with the nearest that there is and without its value.

Each variable that holds a secret, such as \`WEBHOOK_SECRET\`, may be given as a file: \`WEBHOOK_SECRET_FILE\` names a file
with the value, as Docker and Kubernetes provide secrets. One newline at its end is left out. Setting both, or a file that
is missing, empty or larger than 64 KiB, stops the start.

An empty or blank value counts as not set. The program reads no \`.env\` file itself: Compose, systemd and the like do.

`;

const AFTER = `
## The configuration file

\`CONFIG_FILE\` names a YAML file with repositories and their environments. It stands in place of \`GIT_REPO_URL\`,
\`GIT_BRANCH\` and \`GITHUB_REPOSITORY\`: setting one of them as well stops the start. All other variables keep their meaning.
Without the file there is one repository with one environment that has no name.

\`\`\`yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/<owner>/iac-runner/main/docs/config.schema.json
repositories:
  - url: https://github.com/acme/platform.git
    name: acme/platform               # default: from url
    token: { env: GITHUB_TOKEN }      # or { file: /run/secrets/github-token }; default: GITHUB_TOKEN
    deployments: true                 # report to GitHub's Deployments API; default: false
    service_statuses: false           # one commit status per service as well; default: false
    environments:
      - name: staging
        follow: main                  # a branch, or { tags: "v*" }: the newest by version
        url: https://staging.example.com
        variables: { DEPLOY_ENV: staging, ENV_SUFFIX: -staging }
        secrets: { VAULT_APP_TOKEN: { file: /run/secrets/vault-staging } }
      - name: production
        promote: staging              # takes only what staging holds
        approval: other               # none (default), any, or other: somebody else than the one who asked
        approvers: [ada, grace]       # default: everybody with the role admin
        automatic: false              # true: promote as soon as staging has succeeded
        windows:                      # in the form of .iac-runner.yaml
          - { days: [mon, tue, wed, thu], from: "09:00", to: "16:00", timezone: Europe/Berlin }
        variables: { DEPLOY_ENV: production }
\`\`\`

The file is read once, at the start. If something in it is wrong, the program does not start, and there is a line for each
mistake: \`CONFIG_FILE line 12, repositories.0.environments.0.follow: expected the name of a branch\`. The JSON Schema for
editors is [config.schema.json](config.schema.json). [environments.md](environments.md) and [notifications.md](notifications.md) describe every field.

## More

- What tasks get, and which variables they can never get, is described in [tasks.md](tasks.md).
- \`sign\` reads only \`SYNC_SECRET\`, \`WEBHOOK_SECRET\`, \`IAC_RUNNER_URL\`, \`PUBLIC_URL\`, \`INTERNAL_DOMAIN\` and \`WEBHOOK_PORT\`.
- Subcommands that ask a server read \`IAC_RUNNER_TOKEN\`, and the last four of these. \`sync\`, \`rollback\` and \`unpin\` read the secrets, too, and sign if there is no token.
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
