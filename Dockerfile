# The service's one image; what a container does is its command: gateway, worker, beat, db upgrade.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# first what changes seldom: the locked packages, of which nothing is resolved or compiled here
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m venv /opt/enroll \
 && /opt/enroll/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt \
 && python -m pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY enrollment/ enrollment/
COPY schemas/ schemas/
COPY api_gateway/ api_gateway/
COPY intake_store/ intake_store/
COPY worker/ worker/
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/enroll/bin/pip install --no-deps --no-index wheels/*.whl \
 && /opt/enroll/bin/pip check \
 && /opt/enroll/bin/pip uninstall --yes pip

FROM python:3.12-slim
ENV PATH=/opt/enroll/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin enroll
COPY --from=build /opt/enroll /opt/enroll
USER 10001:10001
# whatever is written goes to a place that a container may lose
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["enroll"]
