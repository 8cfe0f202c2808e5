"""Simulations by one command: molecular dynamics that survives a kill, relaxation, phonons.

`options` is plain data, which a command line without Torch reads; the other modules need cartalg[train].
"""
