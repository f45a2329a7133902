"""How close the breaking point found by `failoverctl breaking-point` is to the true one."""
