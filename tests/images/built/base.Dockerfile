# In place of AWS's base image: the paths and the distributions that our Dockerfiles expect of it, on Debian's Python.
ARG PYTHON
ARG UV

FROM ${UV} AS uv

FROM ${PYTHON}
ARG HOME_OF_PYTHON
ENV UV_LINK_MODE=copy
COPY requirements.txt /tmp/
RUN --mount=type=bind,from=uv,source=/uv,target=/usr/local/bin/uv \
    uv venv --python /usr/bin/python3 "$HOME_OF_PYTHON" && \
    uv pip install --python "$HOME_OF_PYTHON/bin/python" --no-deps --require-hashes --requirements /tmp/requirements.txt && \
    rm /tmp/requirements.txt
