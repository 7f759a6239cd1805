"""``lemode completion bash``: a script that completes commands, options and choices without starting Python."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add", "script"]

SCRIPT = """\
# completion of lemode for bash; in zsh after: autoload -U bashcompinit && bashcompinit
_lemode() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "${{COMP_WORDS[1]}} $before" in
{choices}
      *)
        case "$current" in
          -*)
            case "${{COMP_WORDS[1]}}" in
{options}
            esac ;;
          *) COMPREPLY=( $(compgen -f -- "$current") ); return ;;
        esac ;;
    esac
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$current") )
}}
complete -o filenames -F _lemode lemode
"""


def add(commands: Any, parser: argparse.ArgumentParser) -> None:
    """The command.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers(), parser)
    >>> parser.parse_args(["completion", "bash"]).shell
    'bash'
    """
    command = commands.add_parser(
        "completion", help="a script for the shell, which completes what is typed",
        description="Print a script that completes commands, options and file names: source <(lemode completion bash), or put it where "
        "your shell looks, such as ~/.local/share/bash-completion/completions/lemode.",
    )  # fmt: skip
    command.add_argument("shell", choices=["bash", "zsh"], help="zsh reads the same script")

    def run(options: argparse.Namespace) -> int:
        if options.shell == "zsh":
            print("autoload -U bashcompinit && bashcompinit")
        print(script(parser), end="")
        return 0

    command.set_defaults(run=run)


def script(parser: argparse.ArgumentParser) -> str:
    """The script for a parser with commands.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_subparsers().add_parser("fit").add_argument("--train", choices=["all", "auto"])
    >>> print(*[line.strip() for line in script(parser).splitlines() if "fit" in line], sep="\\n")
    words="fit"
    "fit --train") words="all auto" ;;
    fit) words="-h --help --train" ;;
    """
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    options, choices = [], []
    for name, command in subparsers.choices.items():
        words = [word for action in command._actions for word in action.option_strings]
        options.append(f'              {name}) words="{" ".join(words)}" ;;')
        for action in command._actions:
            if action.choices is not None and action.option_strings:
                for word in action.option_strings:
                    choices.append(f'      "{name} {word}") words="{" ".join(map(str, action.choices))}" ;;')
            elif action.choices is not None:
                choices.append(f'      "{name} {name}") words="{" ".join(map(str, action.choices))}" ;;')
    return SCRIPT.format(commands=" ".join(subparsers.choices), options="\n".join(options), choices="\n".join(choices))
