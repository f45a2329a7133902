"""An application file turned into all manifests of its stack. Values in, values out: nothing is asked of a cluster."""
