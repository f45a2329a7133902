"""Shows that an installation works in its cluster: what `failoverctl verify-install` checks."""
