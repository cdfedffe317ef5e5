// What a shell runs to complete our command lines: it asks the command line itself, so it is never out of date.

/** The name by which the program is called. */
const NAME = 'trivet';

export const SHELLS = ['bash', 'zsh'] as const;
export type Shell = (typeof SHELLS)[number];

export const scripts: Readonly<Record<Shell, string>> = {
  bash: `# Completion of ${NAME} for bash. To have it always: ${NAME} completion bash > ~/.local/share/bash-completion/completions/${NAME}
_${NAME}() {
  local current=\${COMP_WORDS[COMP_CWORD]} answer word
  COMPREPLY=()
  mapfile -t answer < <("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ \${answer[0]} == :files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  for word in "\${answer[@]:1}"; do
    printf -v word %q "$word"
    COMPREPLY+=("$word")
  done
}
complete -F _${NAME} ${NAME}`,
  zsh: `#compdef ${NAME}
# Completion of ${NAME} for zsh. To have it always: ${NAME} completion zsh > a file _${NAME} in a directory of $fpath
_${NAME}() {
  local -a answer
  answer=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ \${answer[1]} == :files ]]; then
    _files
  else
    compadd -- "\${(@)answer[2,-1]}"
  fi
}
if [[ \${funcstack[1]} == _${NAME} ]]; then _${NAME} "$@"; else compdef _${NAME} ${NAME}; fi`,
};
