/** Writes the script that completes iac-runner in zsh. */

import { type DescribedOption, type DescribedSubcommand, isFile } from './described-subcommand.ts';

/** It may be loaded, or stand in a file `_iac-runner` of a folder in `fpath`. */
export function zshScript(subcommands: readonly DescribedSubcommand[]): string {
  const summaries = subcommands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`);
  return `#compdef iac-runner
# Completes iac-runner in zsh. To load it after compinit: source <(iac-runner completion zsh)
_iac-runner() {
  local -a subcommands
  subcommands=(
${summaries.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe subcommand subcommands
    return
  fi
  local subcommand=$words[2]
  shift words
  ((CURRENT -= 1))
  case $subcommand in
${subcommands.map(caseOf).join('\n')}
  esac
}
if [[ $funcstack[1] == _iac-runner ]]; then
  _iac-runner "$@"
else
  compdef _iac-runner iac-runner
fi
`;
}

function caseOf({ name, options, words, takesFiles }: DescribedSubcommand): string {
  const rest = takesFiles ? '*:file:_files' : '*:argument:()';
  const arguments_ = [
    ...options.map(specificationOf),
    ...(words.length > 0 ? [`1:word:(${words.join(' ')})`] : []),
    rest,
  ];
  return `    ${name}) _arguments ${arguments_.map(quoted).join(' ')} ;;`;
}

/** As _arguments of zsh reads it: `--url[the server]:URL:`. */
function specificationOf(option: DescribedOption): string {
  const { name, value, explanation, isRepeatable } = option;
  const text = explanation.replace(/[[\]:\\]/g, '\\$&');
  const takes = value === null ? '' : `:${value}:${isFile(option) ? '_files' : ' '}`;
  return `${isRepeatable ? '*' : ''}${name}[${text}]${takes}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
