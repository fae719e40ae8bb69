# One image for every role: the role is the command (api, control, worker, db upgrade, token create ...).
#
#   docker build -t ladder .                                                                             CPU
#   docker build -t ladder:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .         NVIDIA
#
# Tags are pinned by version. Where a registry can be asked, pin the base by digest as well:
#   --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN ["python", "-m", "venv", "/opt/ladder"]
WORKDIR /src
# torch first and alone: the largest layer by far, and it changes least
COPY constraints.txt ./
RUN /opt/ladder/bin/pip install -c constraints.txt --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple \
    torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY hpo hpo
COPY ladder ladder
COPY migrations migrations
COPY models models
COPY workers workers
RUN /opt/ladder/bin/pip install -c constraints.txt ".[server,worker]"

FROM ${PYTHON_IMAGE}
# A uid above 10000 is nobody on the host. The directories belong to it, and so do volumes that start out as copies.
RUN groupadd --gid 10001 ladder \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ladder \
    && install -d -o ladder -g ladder /var/lib/ladder/checkpoints /var/lib/ladder/data
COPY --from=build /opt/ladder /opt/ladder
ENV PATH=/opt/ladder/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    LADDER_HOST=0.0.0.0 \
    LADDER_CHECKPOINT_ROOT=/var/lib/ladder/checkpoints \
    LADDER_DATA_ROOT=/var/lib/ladder/data
USER 10001:10001
WORKDIR /var/lib/ladder
EXPOSE 8000
# The exec form, so that SIGTERM reaches the process that drains.
ENTRYPOINT ["ladder"]
CMD ["--help"]
