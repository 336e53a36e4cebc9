/** Writes the script that completes iac-runner in fish. */

import { type DescribedOption, type DescribedSubcommand, isFile } from './described-subcommand.ts';

export function fishScript(subcommands: readonly DescribedSubcommand[]): string {
  return `# Completes iac-runner in fish. To load it: iac-runner completion fish | source
complete -c iac-runner -e
complete -c iac-runner -f
${subcommands.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ name, summary, options, words, takesFiles }: DescribedSubcommand): string[] {
  const after = `complete -c iac-runner -n '__fish_seen_subcommand_from ${name}'`;
  return [
    `complete -c iac-runner -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
    ...(words.length > 0 ? [`${after} -a '${words.join(' ')}'`] : []),
    ...(takesFiles ? [`${after} -F`] : []),
    ...options.map((option) => `${after} ${switchesOf(option)} -d ${quoted(option.explanation)}`),
  ];
}

function switchesOf(option: DescribedOption): string {
  const { name, value } = option;
  const named = name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`;
  if (value === null) return named;
  return `${named} -r ${isFile(option) ? '-F' : '-f'}`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
