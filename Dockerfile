# The runtime with OpenVINO and ONNX Runtime on the CPU: no PyTorch, no compiler, not root.
#
#     docker build -t harmonyrt .
#     docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" harmonyrt harmonize composite.png mask.png -o out.png
#
# Build bundles outside (they need PyTorch) and mount them as /work/engines.
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/harmonyrt \
    && /opt/harmonyrt/bin/pip install --no-cache-dir --constraint constraints.txt ".[openvino]"

FROM python:3.13-slim-bookworm
COPY --from=build /opt/harmonyrt /opt/harmonyrt
RUN useradd --create-home --uid 10001 harmonyrt \
    && install --directory --mode=1777 /cache
# Compiled engines are cached in /cache, which is writable whatever --user is given.
ENV PATH=/opt/harmonyrt/bin:$PATH \
    XDG_CACHE_HOME=/cache \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /work
ENTRYPOINT ["harmonyrt"]
CMD ["--help"]
