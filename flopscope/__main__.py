"""``python -m flopscope``."""

from flopscope.cli.main import main

main(prog_name="flopscope")
