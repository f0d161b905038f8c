"""`detkit download`, from a checkout."""

from detkit.cli.main import run_command

if __name__ == "__main__":
    run_command("download")
