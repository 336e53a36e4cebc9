/** iac-runner deploy: plans a root module of Terraform or OpenTofu, and applies the plan that somebody approves. */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { loadApiClientConfig, loadDeployVariables } from '../../config.ts';
import { errorCode, UsageError } from '../../errors.ts';
import { callerOf, printable } from '../client/ask-as-caller.ts';
import { followRun } from '../client/follow-run.ts';
import { say } from '../reading/shown.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';

const answerSchema = z.looseObject({ deployment_id: z.string() });

const OPTIONS = {
  ref: { type: 'string', default: 'main' },
  path: { type: 'string', default: '.' },
  tool: { type: 'string', default: 'tofu' },
  'tool-version': { type: 'string' },
  'tfvars-file': { type: 'string', multiple: true, default: [] as string[] },
  env: { type: 'string', multiple: true, default: [] as string[] },
  'git-user': { type: 'string' },
  'git-password': { type: 'string' },
  'ssh-key': { type: 'string' },
  'known-hosts': { type: 'string' },
  destroy: { type: 'boolean', default: false },
  confirm: { type: 'string' },
  'auto-approve': { type: 'boolean', default: false },
  follow: { type: 'boolean' },
  json: { type: 'boolean' },
  url: { type: 'string' },
} as const;

export const deploy: Subcommand = {
  summary: 'Plan a root module of Terraform or OpenTofu, to apply it after an approval.',
  help: `Usage: iac-runner deploy GIT_URL [--ref REF] [--path FOLDER] [--tool TOOL] [--tool-version VERSION]
                         [--tfvars-file FILE]... [--env NAME]... [--destroy --confirm FOLDER] [--auto-approve]
                         [--git-user USER --git-password NAME | --ssh-key FILE --known-hosts FILE]
                         [--follow] [--json] [--url URL]

Plans the root module in FOLDER of the repository. The plan waits for an approval: see iac-runner approve.
${tokenHelp('an operator')}

Options:
  --ref REF               the branch, tag or commit (default main)
  --path FOLDER           the folder of the root module (default .)
  --tool TOOL             terraform or tofu (default tofu)
  --tool-version VERSION  one of those that the server has
  --tfvars-file FILE      a file of the repository, relative to FOLDER; may be repeated
  --env NAME              give the commands this variable of your shell, e.g. TF_VAR_size; may be repeated
  --git-user USER         read the repository over https as this user, with the password in the variable
  --git-password NAME     of your shell that this names
  --ssh-key FILE          read the repository over ssh with this private key, from hosts in the file that
  --known-hosts FILE      this names
  --destroy               plan to destroy everything; needs --confirm
  --confirm FOLDER        the folder once more, so that nobody destroys another one by mistake
  --auto-approve          apply the plan without an approval; needs the token of an admin
  --follow                show the run while it waits and runs, and exit with 0 only when it succeeded
  --json                  as JSON
${URL_HELP}
Example:
  iac-runner deploy https://github.com/acme/infra.git --path network --follow
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, { allowPositionals: true, options: OPTIONS });
    const [gitUrl, ...others] = positionals;
    if (gitUrl === undefined || others.length > 0) throw new UsageError('Name one repository.');
    if (values.destroy && values.confirm !== values.path) {
      throw new UsageError(
        `This plans to destroy all of ${values.path}. Add --confirm ${values.path} if you mean it.`,
      );
    }
    const said = await callerOf(values.url)('POST', '/deploy', {
      ...{ git_url: gitUrl, git_ref: values.ref, path: values.path, tool: values.tool },
      ...(values['tool-version'] !== undefined && { tool_version: values['tool-version'] }),
      ...{ tfvars_files: values['tfvars-file'], env_vars: loadDeployVariables(values.env) },
      ...(await credentialOf(values)),
      ...{ destroy: values.destroy, auto_approve: values['auto-approve'] },
    });
    const id = answerSchema.parse(said).deployment_id;
    const { token, url: configured } = loadApiClientConfig();
    const server = values.url ?? configured;
    const page = `${server}/runs/${encodeURIComponent(id)}`;
    say(values.json ? JSON.stringify(said) : `Deployment ${printable(id)}\n${page}`);
    return values.follow ? followRun(server, page, { token, json: values.json }) : true;
  },
};

interface CredentialOptions {
  'git-user'?: string | undefined;
  'git-password'?: string | undefined;
  'ssh-key'?: string | undefined;
  'known-hosts'?: string | undefined;
}

/** Secrets come from variables and files, because everybody on the machine can read arguments. */
async function credentialOf(given: CredentialOptions): Promise<{ git_auth?: Record<string, string> }> {
  const { 'git-user': username, 'git-password': variable, 'ssh-key': key, 'known-hosts': hosts } = given;
  if (username !== undefined && variable !== undefined) {
    const { [variable]: password = '' } = loadDeployVariables([variable]);
    return { git_auth: { type: 'http', username, password } };
  }
  if (key !== undefined && hosts !== undefined) {
    return { git_auth: { type: 'ssh', private_key: await textOf(key), known_hosts: await textOf(hosts) } };
  }
  if ([username, variable, key, hosts].every((value) => value === undefined)) return {};
  throw new UsageError('Give --git-user with --git-password, or --ssh-key with --known-hosts.');
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new UsageError(`The file ${file} cannot be read (${errorCode(cause)}).`, { cause });
  }
}
