"""Container images: built with buildah, run with podman and runc, on bases made here. No daemon and no registry takes part."""
