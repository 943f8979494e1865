"""Adapters: one file each, each under the conformance suite of its port."""
