"""`python -m symphainy` is the program `symphainy`."""

from symphainy.cli.main import main

main()
