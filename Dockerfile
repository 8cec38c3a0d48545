# The image that serves. `make image` builds it, runs it and judges it.
#
#   BASE    the Python image of every stage; a release gives it by its digest
#   MODEL   a sentence-transformers name, or a folder below models/
# checkov:skip=CKV_DOCKER_7: the default has a tag, which checkov does not follow
ARG BASE=python:3.11-slim-bookworm

# ---- this project as a wheel, and what describes the environment
FROM ${BASE} AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY quantum quantum
COPY retrieval retrieval
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

# ---- the environment that serves: without torch, and without pip
FROM ${BASE} AS environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/serve.txt requirements/
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --only-binary :all: \
        --requirement requirements/serve.txt
# 150 MB that nothing opens where a CPU serves OpenVINO's own files: plugins of other devices, readers of other formats,
# and what libraries bring for their tests and for compilers. A name that is gone fails the build: the list stays true.
RUN rm --recursive \
        /opt/venv/lib/python3*/site-packages/openvino/include \
        /opt/venv/lib/python3*/site-packages/openvino/libs/cache.json \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_intel_gpu_plugin.so \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_intel_npu_plugin.so \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_gguf_frontend.so* \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_jax_frontend.so* \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_onnx_frontend.so* \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_paddle_frontend.so* \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_pytorch_frontend.so* \
        /opt/venv/lib/python3*/site-packages/openvino/libs/libopenvino_tensorflow*_frontend.so* \
    && find /opt/venv/lib -depth -type d -name tests -exec rm --recursive {} + \
    && find /opt/venv/lib -type f \( -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.pyx' \) \
        -delete
# 80 MB of debug information, half of it in numkong. Libraries that auditwheel has put into *.libs are left alone: strip can break them.
# binutils gets no version: Debian's mirrors keep no old ones, and this stage's packages are not in the image.
# hadolint ignore=DL3008
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends binutils \
    && find /opt/venv/lib -name '*.so' -not -path '*.libs/*' -exec strip --strip-debug {} +
COPY --from=tools /wheel /wheel
RUN python -m pip --python /opt/venv/bin/python install --no-deps --no-index /wheel/*.whl

# ---- what is in that environment, and under which licences
FROM tools AS papers
COPY --from=environment /opt/venv /opt/venv
WORKDIR /papers
RUN /opt/tools/bin/cyclonedx-py environment --pyproject /src/pyproject.toml --output-format JSON \
        --output-file sbom.cdx.json /opt/venv/bin/python \
    && /opt/tools/bin/pip-licenses --python /opt/venv/bin/python --format plain-vertical --with-license-file \
        --no-license-path --output-file licenses.txt \
    && cp /src/LICENSE .

# ---- the model as OpenVINO files, int8 and full; torch stays here
FROM ${BASE} AS model
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# torch goes first and alone: left to the resolver it brings gigabytes of CUDA.
RUN python -m venv /opt/prepare && /opt/prepare/bin/pip install torch==2.13.0
COPY requirements/prepare.txt requirements/
RUN /opt/prepare/bin/pip install --no-deps --require-hashes --only-binary :all: --requirement requirements/prepare.txt
COPY --from=tools /wheel /wheel
COPY models models
ARG MODEL=all-MiniLM-L6-v2
RUN /opt/prepare/bin/pip install --no-deps --no-index /wheel/*.whl \
    && QRERANK_MODEL="${MODEL}" QRERANK_MODEL_DIR=/models /opt/prepare/bin/qrerank prepare

# ---- the image
FROM ${BASE}
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && rm --recursive /usr/local/lib/python3*/ensurepip \
    && groupadd --gid 10001 qrerank \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin qrerank \
    && install --directory --owner 10001 --group 10001 /data /usr/share/doc/quantum-rerank \
    && dpkg-query --show > /usr/share/doc/quantum-rerank/debian.txt
COPY --from=papers /papers /usr/share/doc/quantum-rerank
COPY --from=environment /opt/venv /opt/venv
COPY --from=model /models /models
ARG MODEL=all-MiniLM-L6-v2
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QRERANK_DATA_DIR=/data \
    QRERANK_MODEL=${MODEL} \
    QRERANK_MODEL_DIR=/models
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="quantum-rerank" \
      org.opencontainers.image.description="Reranks retrieved passages with cosine, simulated fidelity circuits and BM25, on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/tmp"]
EXPOSE 8000 9090
STOPSIGNAL SIGTERM
# Python's own client and nothing else: it takes a tenth of a second, where importing the service takes seconds.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "from http.client import HTTPConnection; c = HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["qrerank"]
CMD ["serve", "--host", "0.0.0.0"]
