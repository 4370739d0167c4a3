"""`python -m vdnnsim` is `vdnnsim`."""

from vdnnsim.cli import main

main()
