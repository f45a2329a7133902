# syntax=docker/dockerfile:1
# The model server: cuda. Written by `make images` from deploy/images/images.yaml: change that one.
#   docker build --file deploy/images/cuda.Dockerfile --tag model-server-cuda model_server
ARG BASE=public.ecr.aws/deep-learning-containers/pytorch:2.13-cu133-amzn2023
ARG UV=ghcr.io/astral-sh/uv:0.13.9

# hadolint ignore=DL3006
FROM ${UV} AS uv

# hadolint ignore=DL3006
FROM ${BASE}
# A tag can move: fine for trying, refused for a release (--build-arg RELEASE=true).
ARG RELEASE=false
RUN [ "$RELEASE" != true ] || { echo "no digest yet of: public.ecr.aws/deep-learning-containers/pytorch:2.13-cu133-amzn2023, ghcr.io/astral-sh/uv:0.13.9; run python -m deploy.images resolve" >&2; exit 1; }
LABEL org.opencontainers.image.title="model-server-cuda" \
      org.opencontainers.image.description="Model server, cuda" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The versions and hashes of uv.lock; the base brings torch 2.13.0, torchvision 0.28.0.
RUN --mount=type=bind,from=uv,source=/uv,target=/usr/local/bin/uv \
    --mount=type=bind,target=/src,rw \
    uv export --quiet --frozen --project /src --no-emit-project --output-file /tmp/requirements.txt \
      --no-dev --group libraries-5 --extra cuda --extra aws --extra hub --extra ui --prune torch --prune torchvision && \
    uv pip install --python /opt/venv/bin/python --no-cache --no-deps --require-hashes --requirements /tmp/requirements.txt && \
    uv pip install --python /opt/venv/bin/python --no-cache --no-deps --compile-bytecode /src && \
    rm /tmp/requirements.txt
# An older driver of the node needs the base image's compatibility libraries in front.
COPY --chmod=755 container/with-cuda-compat /usr/local/bin/
# Fails the build where the base and our libraries do not go together.
RUN /opt/venv/bin/python -c "import failover_model_server.cli, torch, torchvision, diffusers, transformers" && \
    install --directory --owner=65532 --group=65532 /var/cache/model-server
# Everything that is written goes under /var/cache/model-server and /tmp: mount both, and the root file system may be read-only.
ENV MODEL_SERVER_BACKEND=cuda \
    MODEL_SERVER_CACHE_DIR=/var/cache/model-server \
    HF_HOME=/var/cache/model-server/hub \
    HOME=/tmp USER=model-server \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8000 50051
# Kubernetes probes; the base's own check asks a port that nothing listens on.
HEALTHCHECK NONE
# The exec form, and not the base's entry point, which does not pass SIGTERM on: it reaches the server, which drains.
ENTRYPOINT ["/usr/local/bin/with-cuda-compat", "failover-model-server"]
CMD ["serve"]
