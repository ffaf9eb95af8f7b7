# The service alone:              docker build -t mlops_backend .
# With engine and model inside:   docker build -t mlops_backend --build-arg EMBEDDED=true .
# With what traces need:          docker build -t mlops_backend --build-arg TRACING=true .

FROM python:3.11-slim AS build
ARG EMBEDDED=false
ARG TRACING=false
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt requirements-embedded.txt requirements-tracing.txt ./
# The environment gets no pip of its own: nothing is installed where the service runs.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r requirements.txt
RUN set -e; \
    if [ "$EMBEDDED" = "true" ]; then \
        python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes \
            --no-deps --only-binary=:all: -r requirements-embedded.txt; \
    fi; \
    if [ "$TRACING" = "true" ]; then \
        python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r requirements-tracing.txt; \
    fi
# The console's libraries, by npm out of a wheel that stays in this stage; where they cannot be had, this says what is lost.
COPY requirements-npm.txt ./
COPY scripts/console_libraries.py scripts/
COPY mlops_backend/console/package.json mlops_backend/console/package-lock.json mlops_backend/console/
RUN python scripts/console_libraries.py /opt/venv
COPY mlops_backend /app/mlops_backend
COPY wsgi.py hypercorn_conf.py /app/
# Readable by any user, whatever the umask of the checkout; compiled, since nothing is written at run time.
RUN chmod -R a+rX /app && python -m compileall -q /app

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# Platforms that choose the user themselves leave it in group 0.
RUN mkdir -m 770 /data && chown 10001:0 /data
ENV DATABASE_URL=sqlite:////data/mlops_backend.db
ENV PATH="/opt/venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# No proxy, even if the environment names one: the address is the container's own.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:%s/health' % (os.environ.get('PORT') or 8000), timeout=4)"]
CMD ["python", "-m", "mlops_backend"]
