"""What the traffic should be, and whether to change it now.

For the steady state and the guards: `gate` answers whether the routing action of the present mode is written now, why not, and until when.
"""
