"""`detkit why`, from a checkout."""

from detkit.cli.main import run_command

if __name__ == "__main__":
    run_command("why")
