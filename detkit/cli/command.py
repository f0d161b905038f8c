"""A command of the console: its name, what it says of itself, its arguments, and what it does."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Of data sets: config.data.FormName, which is slow to import.
FORMS = ("voc", "coco", "yolo", "labelme", "cvat", "openimages", "huggingface")


@dataclass(frozen=True)
class Command:
    """One command of `detkit`. Its module imports nothing slow: what it needs is imported when it runs."""

    name: str  # as it is typed
    description: str  # the first line says what it does; the rest is shown by its own --help
    example: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]  # returns the exit status
    intermixed: bool = False  # key=value words may stand between the options

    @property
    def summary(self) -> str:
        """One sentence, without its full stop."""
        return self.description.strip().splitlines()[0].rstrip(".")

    def parser(self) -> ArgumentParser:
        parser = ArgumentParser(
            prog=f"detkit {self.name}",
            description=self.description,
            epilog=self.example,
            formatter_class=RawDescriptionHelpFormatter,
        )
        self.add_arguments(parser)
        return parser

    def __call__(self, words: Sequence[str]) -> int:
        """Run the command with the words typed behind its name; argparse ends the process where they are off."""
        parser = self.parser()
        arguments = parser.parse_intermixed_args(words) if self.intermixed else parser.parse_args(words)
        return self.run(arguments)
