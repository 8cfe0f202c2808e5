"""Layers of the message-passing potential; every operation on tensor components is a generated kernel."""
