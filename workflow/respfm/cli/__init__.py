"""The command `respfm`."""
