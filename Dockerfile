# An image with the command `kerasunsup`: docs/install.md says how to use it.
# .ci/run_dockerfile.py runs these steps without Docker.

FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
RUN useradd --uid 10001 --create-home kerasunsup && install --directory --owner kerasunsup /work
# A user given by `docker run --user` has no home folder.
ENV MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /work
ENTRYPOINT ["kerasunsup"]
CMD ["--help"]
