/** iac-runner tools: lists the installed versions of Terraform and OpenTofu, and checks that they work. */

import { loadToolPlaces } from '../../config.ts';
import { UsageError } from '../../errors.ts';
import { createLocalExecutor } from '../../executor/local.ts';
import { checkTool, listTools } from '../../pipelines/terraform/install/tools.ts';
import { parseOptions, type Subcommand } from '../subcommand.ts';

export const tools: Subcommand = {
  summary: 'List and check the installed versions of terraform and tofu.',
  help: `Usage: iac-runner tools

Lists the tools that deployments may use: tool, version, program. The tools on the PATH come first, which are used when
a deployment names no tool_version, then each TOOLS_DIR/<tool>/<version>/<tool>. Every tool is asked for its version.
Exits with 1 when a tool does not answer or is not the version that its folder names, or when there is none.

Example:
  iac-runner tools
`,
  async run(args) {
    const { positionals } = parseOptions(args, { allowPositionals: true, options: {} });
    if (positionals.length > 0) throw new UsageError('This subcommand takes no arguments.');
    const places = loadToolPlaces();
    const tools = await listTools(places);
    const executor = createLocalExecutor();
    let broken = 0;
    for (const installed of tools) {
      const { tool, program } = installed;
      const checked = await checkTool(executor, installed);
      const version = checked.ok ? checked.version : (installed.version ?? '?');
      const place = installed.version === null ? '  (on the PATH)' : '';
      const remark = checked.ok ? place : `  broken: ${checked.problem}`;
      if (!checked.ok) broken += 1;
      process.stdout.write(`${tool.padEnd(10)} ${version.padEnd(16)} ${program}${remark}\n`);
    }
    if (tools.length > 0) return broken === 0;
    const where = places.toolsDir ?? 'TOOLS_DIR, which is not set';
    process.stderr.write(`There is no terraform and no tofu, neither on the PATH nor in ${where}.\n`);
    return false;
  },
};
