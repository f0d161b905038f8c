"""Print the completion of commands and options for a shell."""

from argparse import ArgumentParser, Namespace

from detkit.cli.command import Command

EXAMPLE = """examples:
  detkit completion bash > ~/.local/share/bash-completion/completions/detkit
  detkit completion zsh > ~/.zfunc/_detkit           # a folder of $fpath, before compinit"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"))


def run(arguments: Namespace) -> int:
    import shtab

    from detkit.cli.main import full_parser

    print(shtab.complete(full_parser(), arguments.shell))
    return 0


COMMAND = Command("completion", __doc__, EXAMPLE, add_arguments, run)
