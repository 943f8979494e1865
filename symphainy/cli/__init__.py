"""The command line: one file a verb. Data goes to stdout, talk to stderr; 0 done, 1 refused or failed, 2 misused."""
