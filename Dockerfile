# detkit with all its commands, set up as the Makefile does it. One image for CPUs and GPUs: torch brings its own CUDA.
#   docker build -t detkit .
#   docker run --rm --user "$(id -u)" --shm-size=8g -v "$PWD":/work detkit train --data data/mine
#   docker run --rm --user "$(id -u)" --shm-size=8g -v "$PWD":/work --gpus all detkit train --data data/mine
# Another base, such as one that has CUDA's tools: --build-arg BASE=IMAGE (Debian or Ubuntu with Python 3.11 or newer).
ARG BASE=ubuntu:24.04
FROM ${BASE}

RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates make python3 python3-venv && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --create-home detector && \
    mkdir -p /opt/detkit /work && chown detector /opt/detkit /work

USER detector
WORKDIR /opt/detkit
COPY --chown=detector . .
RUN make setup && rm -rf /home/detector/.cache

# What --gpus passes in; and a home that any --user can write caches to.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility HOME=/tmp PATH=/opt/detkit/.venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["detkit"]
CMD ["--help"]
