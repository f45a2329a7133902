"""Renders an application file to all manifests of its stack. Values in, values out, without a cluster."""
