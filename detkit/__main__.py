"""`python -m detkit`: the console command, also for torchrun."""

from detkit.cli.main import main

if __name__ == "__main__":
    main()
