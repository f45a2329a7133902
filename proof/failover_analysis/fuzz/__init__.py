"""Random worlds that try to make the controller wrong about a shortage: object streams through the production view and decision.

A small Karpenter of its own (`karpenter`) asks a small EC2 (`ec2`) that mostly refuses one instance type in one zone a call, grants part of
the request and knows one capacity type a launch. `judge` compares what is decided with what EC2 really had.
"""
