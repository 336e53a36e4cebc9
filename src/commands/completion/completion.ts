/** iac-runner completion: prints a script that completes subcommands and options in a shell. */

import { UsageError } from '../../errors.ts';
import { parseOptions, type Subcommand } from '../subcommand.ts';
import { bashScript } from './bash-script.ts';
import { type DescribedSubcommand, describedSubcommand } from './described-subcommand.ts';
import { fishScript } from './fish-script.ts';
import { zshScript } from './zsh-script.ts';

const SCRIPTS: Readonly<Record<string, (subcommands: readonly DescribedSubcommand[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};
const SHELLS = Object.keys(SCRIPTS);

/** `loaders` is the table of all subcommands. */
export function completionOf(loaders: Readonly<Record<string, () => Promise<Subcommand>>>): Subcommand {
  return {
    summary: 'Print a script that completes subcommands and options in a shell.',
    help: `Usage: iac-runner completion (${SHELLS.join(' | ')})

Prints a script for the shell. Load it in its start file: ~/.bashrc, ~/.zshrc after compinit, or
~/.config/fish/config.fish. It needs no configuration.

Example:
  source <(iac-runner completion bash)
  iac-runner completion fish | source
`,
    async run(args) {
      const { positionals } = parseOptions(args, { allowPositionals: true, options: {} });
      const [shell = '', ...others] = positionals;
      const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
      if (!script || others.length > 0) throw new UsageError(`Name one shell: ${SHELLS.join(', ')}.`);
      const described = await Promise.all(
        Object.entries(loaders).map(async ([name, load]) => describedSubcommand(name, await load())),
      );
      process.stdout.write(script(described));
      return true;
    },
  };
}
