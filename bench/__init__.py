"""What Symphainy does on this machine, beside what the machine itself can do.

    python -m bench [names] [--json FILE] [--quick]

Every figure is the median of several repetitions, and where the machine sets a bound that was measured in the same
run, also a fraction of that bound.
"""
