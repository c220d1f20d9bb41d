# The service's one image; what a container does is its command: gateway, worker, beat, db upgrade.
# The base by digest, so that each build has the same one:
#   docker build --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:… .
ARG PYTHON_IMAGE=python:3.12-slim
# the packages that are installed: runtime, or otel to have traces as well
ARG LOCK=runtime

FROM ${PYTHON_IMAGE} AS build
ARG LOCK
# two builds of one source have the same files: times, and the order of sets in compiled modules
ARG SOURCE_DATE_EPOCH=315532800
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PYTHONHASHSEED=0
WORKDIR /build

# first what changes seldom: the locked packages, of which nothing is resolved or compiled here
COPY requirements/${LOCK}.txt requirements/build.txt requirements/
RUN python -m venv /opt/enroll \
 && /opt/enroll/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/${LOCK}.txt \
 && python -m pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY enrollment/ enrollment/
COPY schemas/ schemas/
COPY api_gateway/ api_gateway/
COPY intake_store/ intake_store/
COPY worker/ worker/
# the wheel by its name, not by its path, which pip would record with a hash of its own
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/enroll/bin/pip install --no-deps --no-index --find-links wheels enrollment-service \
 && /opt/enroll/bin/pip check \
 && /opt/enroll/bin/pip uninstall --yes pip \
 && find /opt/enroll -name __pycache__ -prune -exec rm -r {} + \
 && /opt/enroll/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/enroll/lib \
 && find /opt/enroll -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM ${PYTHON_IMAGE}
ARG SOURCE_DATE_EPOCH=315532800
ENV PATH=/opt/enroll/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# the data folder: a new volume there has its owner and mode
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin enroll \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/enroll \
 && touch --date="@$SOURCE_DATE_EPOCH" /var/lib/enroll /var/lib
# not /opt/enroll itself: a folder that COPY makes has the time of the build
COPY --from=build /opt/ /opt/
USER 10001:10001
# whatever is written goes to a place that a container may lose
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# a gateway that is ready, or a worker or beat whose heartbeat is not old
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD \
    python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)" 2>/dev/null \
    || enroll workers --here
ENTRYPOINT ["enroll"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="enrollment-service" \
      org.opencontainers.image.description="Takes course enrollments and tells the outcome of each" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
