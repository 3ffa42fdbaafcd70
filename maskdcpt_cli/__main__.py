"""`python -m maskdcpt_cli` and `torchrun -m maskdcpt_cli`."""

from maskdcpt_cli.cli import main

if __name__ == "__main__":
    main(prog_name="maskdcpt")
