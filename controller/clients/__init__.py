"""The only code that talks to Kubernetes and AWS: connections, credentials, timeouts and the translation of their errors into ours."""
