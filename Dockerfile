# The steps of README.md on a plain Python image; a test compares them with the Makefile.
#   docker build -t respfm . && docker run --rm -v "$PWD/results:/respfm/results" respfm
#   apptainer build respfm.sif docker-daemon:respfm:latest
# PyTorch brings its CUDA libraries: `docker run --gpus all` and `apptainer run --nv` need only the host's driver.
FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /respfm
COPY . .
ENV PIP_NO_CACHE_DIR=1
RUN make setup
ENV PATH=/respfm/.venv/bin:$PATH
CMD ["make", "demo"]
