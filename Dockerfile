# SPDX-License-Identifier: Apache-2.0
# The reference environment, for hosts on which ./dev cannot make its own. It holds packages only; the
# checkout is mounted:
#   docker build -t asynclm-env .
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:$PWD" -w "$PWD" asynclm-env ./dev run
# With the training packages: docker build --build-arg SETS="packages packages-train" -t asynclm-env .
FROM debian:forky
ARG SETS=packages
COPY env/packages env/packages-train /env/
RUN cd /env && apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(sed 's/#.*//' $SETS) && \
    rm -rf /var/lib/apt/lists/*
ENV LANG=C.UTF-8
CMD ["bash"]
