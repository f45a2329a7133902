"""Discrete-event simulation in virtual time: a model of the cluster and AWS around the production decision core.

No I/O except for scenario files, no clock except for the event queue, and no randomness except from seeds. The models that the testbed
shares (EC2's answers, demand, the autoscaler) are in `failover_testbed`.
"""
