"""The Ingress as the routing object: an action in an annotation, which the backend of one rule names."""
