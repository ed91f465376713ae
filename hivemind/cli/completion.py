"""`hm completion`: what a shell has to read, so that Tab completes commands, options, nodes and topics."""

from __future__ import annotations

import click

from . import output

RC_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc, after compinit", "fish": "~/.config/fish/config.fish"}
LINES = {shell: f'eval "$(hm completion {shell})"' for shell in ("bash", "zsh")}
LINES["fish"] = "hm completion fish | source"

#: Bash takes @tag for two words, a host's name after its @; and what is offered must not be read as a glob.
BASH = r"""
%(complete_func)s() {
    local words=("${COMP_WORDS[@]}") at=$COMP_CWORD kind name
    if [[ $2 == "@${words[at]}" ]]; then
        words=("${words[@]:0:at-1}" "$2")
        at=$((at - 1))
    fi
    while IFS=, read -r kind name; do
        case $kind in
            plain) COMPREPLY+=("$name") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(IFS=$'\n'; COMP_WORDS="${words[*]}" COMP_CWORD=$at %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command()
@click.argument("shell", type=click.Choice(list(RC_FILES)))
def completion(shell: str) -> None:
    """Print what SHELL has to read, so that Tab completes commands, options, nodes and topics.

    It is for `hm` and `hived`, and begins with the line that makes every shell read it. Bash 4.4 or newer.

    Examples:
      eval "$(hm completion bash)"
      hm completion fish | source
    """
    output.write_lines([f"# for every shell, in {RC_FILES[shell]}:  {LINES[shell]}", script(shell)])


def script(shell: str) -> str:
    """What ``shell`` has to read."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"there is no completion for {shell}")
    found = []
    for name in ("hm", "hived"):
        made = kind(click.Group(name), {}, name, f"_{name.upper()}_COMPLETE")
        template = BASH if shell == "bash" else made.source_template
        found.append((template % made.source_vars()).strip())
    return "\n".join(found)
