"""``python -m nas``."""

from nas.cli.main import main

main(prog_name="python -m nas")
