"""Look for what is wrong with this installation.

Says what detkit runs on, looks for what is known to break it, and tries a small detector.
Exit status: 0 all well, 1 something is wrong.
"""

from argparse import ArgumentParser, Namespace

from detkit.cli.command import Command

EXAMPLE = """example:
  detkit doctor                 # add what it prints to a report of a fault"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="leave out the self-test")


def run(arguments: Namespace) -> int:
    from detkit.commands.doctor import examine

    problems = 0
    for finding in examine(self_test=not arguments.quick):
        print(f"{'ok' if finding.is_well else 'WRONG':5}  {finding.subject}: {finding.text}")
        problems += not finding.is_well
    print("all well" if not problems else f"{problems} thing{'s are' if problems > 1 else ' is'} wrong")
    return 1 if problems else 0


COMMAND = Command("doctor", __doc__, EXAMPLE, add_arguments, run)
