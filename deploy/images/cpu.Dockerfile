# syntax=docker/dockerfile:1
# The model server: cpu. `make images` writes it from deploy/images/images.yaml: change that file.
#   docker build --file deploy/images/cpu.Dockerfile --tag model-server-cpu model_server
ARG BASE=public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu-amzn2023
ARG UV=ghcr.io/astral-sh/uv:0.13.9

# hadolint ignore=DL3006
FROM ${UV} AS uv

# hadolint ignore=DL3006
FROM ${BASE}
# A tag can move: allowed for trials, refused for a release (--build-arg RELEASE=true).
ARG RELEASE=false
RUN [ "$RELEASE" != true ] || { echo "no digest yet of: public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu-amzn2023, ghcr.io/astral-sh/uv:0.13.9; run python -m deploy.images resolve" >&2; exit 1; }
LABEL org.opencontainers.image.title="model-server-cpu" \
      org.opencontainers.image.description="Model server, cpu" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The versions and hashes of uv.lock; the base has torch 2.13.0, torchvision 0.28.0.
RUN --mount=type=bind,from=uv,source=/uv,target=/usr/local/bin/uv \
    --mount=type=bind,target=/src,rw \
    uv export --quiet --frozen --project /src --no-emit-project --output-file /tmp/requirements.txt \
      --no-dev --group libraries-5 --extra cpu --extra aws --extra hub --prune torch --prune torchvision && \
    uv pip install --python /opt/venv/bin/python --no-cache --no-deps --require-hashes --requirements /tmp/requirements.txt && \
    uv pip install --python /opt/venv/bin/python --no-cache --no-deps --compile-bytecode /src && \
    rm /tmp/requirements.txt
# Fails the build if the base and our libraries are incompatible.
RUN /opt/venv/bin/python -c "import failover_model_server.cli, torch, torchvision, diffusers, transformers" && \
    install --directory --owner=65532 --group=65532 /var/cache/model-server
# The server writes only to /var/cache/model-server and /tmp: with both mounted, the root file system may be read-only. The base's own entry
# point, which is not used, may be what finds its programs.
ENV MODEL_SERVER_BACKEND=cpu \
    MODEL_SERVER_CACHE_DIR=/var/cache/model-server \
    HF_HOME=/var/cache/model-server/hub \
    HOME=/tmp USER=model-server PATH=/opt/venv/bin:$PATH \
    MALLOC_MMAP_THRESHOLD_=2097152 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 \
    LRU_CACHE_CAPACITY=16 \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8000 50051
# Kubernetes probes; the base's own check uses a port that nothing listens on.
HEALTHCHECK NONE
# The exec form, so that SIGTERM reaches the server, which drains. The base's entry point would not forward it.
ENTRYPOINT ["failover-model-server"]
CMD ["serve"]
