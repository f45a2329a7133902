# syntax=docker/dockerfile:1
# The controller's image. It runs as a numeric user, needs no writable file system, and holds no build tools and none of the demo's libraries.
# `make images` writes it from deploy/images: change controller.Dockerfile.j2 or images.yaml there.
ARG PYTHON=public.ecr.aws/docker/library/python:3.13-slim-trixie
ARG UV=ghcr.io/astral-sh/uv:0.13.9

# hadolint ignore=DL3006
FROM ${UV} AS uv

# hadolint ignore=DL3006
FROM ${PYTHON} AS build
# A tag can move: allowed for trials, refused for a release (--build-arg RELEASE=true).
ARG RELEASE=false
RUN [ "$RELEASE" != true ] || { echo "no digest yet of: public.ecr.aws/docker/library/python:3.13-slim-trixie, ghcr.io/astral-sh/uv:0.13.9; run python -m deploy.images resolve" >&2; exit 1; }
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/failoverctl
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project
COPY controller ./controller
RUN uv sync --frozen --no-dev --no-editable
# Models of other AWS services, and generated Kubernetes classes that nothing imports: three quarters of the size. Then every module of `run` is
# imported, which fails the build where one is missing.
COPY deploy/images/trim.py ./
RUN /opt/failoverctl/bin/python trim.py && /opt/failoverctl/bin/failoverctl run --help > /dev/null

# hadolint ignore=DL3006
FROM ${PYTHON}
LABEL org.opencontainers.image.title="failoverctl" \
      org.opencontainers.image.description="Failover controller for mixed-accelerator inference on EKS" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/failoverctl /opt/failoverctl
# glibc gives each thread its own heap, and every watch is a thread: with a thousand applications it would keep 9 MiB of freed memory.
# The thresholds are fixed: by default one large answer raises them, and with AWS on 6 MiB of what is freed afterwards would be kept.
ENV PATH=/opt/failoverctl/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 8080
# The exec form: SIGTERM reaches the controller, which finishes work in flight and ends.
ENTRYPOINT ["failoverctl"]
CMD ["run"]
