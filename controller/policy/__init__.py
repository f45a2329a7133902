"""The pure core: values in, values out.

Rule 1: nothing in this package does I/O, logs, reads settings, a clock or a source of randomness. The only time is ``Snapshot.now``.
Rule 2: what decides never acts. `decide.decide` returns a decision, `plan.plan` turns it into the exact patches; applying them is the
service's job.
"""
