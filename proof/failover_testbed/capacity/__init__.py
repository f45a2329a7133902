"""EC2's capacity and how Karpenter uses it, shared by the emulated cluster and the simulation."""
