"""`python -m cartalg` is the command line."""

from cartalg.cli import app

app()
