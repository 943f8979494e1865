"""The governors. Pure: facts in, a `Decision` with its reason out. The runtime acts, the log records."""
