"""`python -m promax.cli`."""

from promax.cli import main

main()
