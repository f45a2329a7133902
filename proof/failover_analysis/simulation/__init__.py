"""Virtual time: the world around the controller as discrete events, and the production decision core deciding in it.

Pure as the policy is: no I/O but scenario files, no clock but the event queue's, no chance but what a seed gives. What both worlds need
(what EC2 answers, how demand runs, what the autoscaler makes of a metric) is here, below the embedded environment, which uses it too.
"""
