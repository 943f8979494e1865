"""The promises of `symphainy.ports` as tests.

Subclass a suite, give it the fixture it names, and the adapter is held to them.
"""
