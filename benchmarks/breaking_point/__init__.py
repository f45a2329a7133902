"""How near the breaking point that `failoverctl breaking-point` finds comes to the true one."""
