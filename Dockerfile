# Two images, both with OpenVINO and ONNX Runtime on the CPU: no PyTorch, no compiler, not root. Build bundles outside
# (they need PyTorch) and mount them as /work/engines.
#
# The command line:
#
#     docker build -t harmonyrt .
#     docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" harmonyrt harmonize composite.png mask.png -o out.png
#
# The server, at http://127.0.0.1:8000 (deploy/ has a compose file and a Kubernetes manifest):
#
#     docker build --target server -t harmonyrt-server .
#     docker run --rm -v "$PWD/engines:/work/engines:ro" -p 127.0.0.1:8000:8000 harmonyrt-server
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/harmonyrt \
    && /opt/harmonyrt/bin/pip install --no-cache-dir --constraint constraints.txt ".[openvino,jpeg]"

FROM build AS build-server
RUN /opt/harmonyrt/bin/pip install --no-cache-dir --constraint constraints.txt ".[openvino,serve,jpeg]"

FROM python:3.13-slim-bookworm AS base
RUN useradd --create-home --uid 10001 harmonyrt \
    && install --directory --mode=1777 /cache
# Compiled engines are cached in /cache, which is writable whatever --user is given.
ENV PATH=/opt/harmonyrt/bin:$PATH \
    XDG_CACHE_HOME=/cache \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001
WORKDIR /work

FROM base AS server
COPY --from=build-server /opt/harmonyrt /opt/harmonyrt
EXPOSE 8000
# The container's own loopback would be out of reach; -p and --api-keys say who may come.
ENTRYPOINT ["harmonyrt", "serve", "--port", "8000"]
CMD ["--host", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

# The last stage is what a build without --target makes.
FROM base
COPY --from=build /opt/harmonyrt /opt/harmonyrt
ENTRYPOINT ["harmonyrt"]
CMD ["--help"]
