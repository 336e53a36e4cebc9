/** Writes the script that completes iac-runner in bash, from version 3.2 on. */

import { type DescribedSubcommand, isFile } from './described-subcommand.ts';

/** All words have letters and hyphens only, so none has to be quoted. */
export function bashScript(subcommands: readonly DescribedSubcommand[]): string {
  return `# Completes iac-runner in bash. To load it: source <(iac-runner completion bash)
_iac_runner() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]}
  local words='' valued='' filed='' files=''
  COMPREPLY=()
  case \${COMP_WORDS[1]} in
${subcommands.map(caseOf).join('\n')}
  esac
  if ((COMP_CWORD == 1)); then
    words='${subcommands.map(({ name }) => name).join(' ')}' files=''
  elif [[ " $filed " == *" $before "* ]]; then
    words='' files=yes
  elif [[ " $valued " == *" $before "* ]]; then
    return
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [[ -n $files && $word != -* ]]; then
    compopt -o filenames 2> /dev/null
    local file
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$word")
  fi
}
complete -F _iac_runner iac-runner
`;
}

function caseOf({ name, options, words, takesFiles }: DescribedSubcommand): string {
  const valued = options.filter(({ value }) => value !== null);
  const offered = [...words, ...options.map((option) => option.name)];
  const texts = {
    words: offered.join(' '),
    valued: valued.map((option) => option.name).join(' '),
    filed: valued
      .filter(isFile)
      .map((option) => option.name)
      .join(' '),
    files: takesFiles ? 'yes' : '',
  };
  const set = Object.entries(texts).map(([variable, text]) => `${variable}='${text}'`);
  return `    ${name}) ${set.join(' ')} ;;`;
}
