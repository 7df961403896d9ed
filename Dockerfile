# Builds Lanner from source and runs its server.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libclang-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /lanner
COPY . .
RUN cargo build --release --locked --bin lanner && .ci/split-debug target/release/lanner

# The program and its debug information alone, for a release: docker build --target files --output dist .
FROM scratch AS files
COPY --from=build /lanner/target/release/lanner /lanner/target/release/lanner.debug /

FROM debian:bookworm-slim
RUN useradd --system --uid 7700 --create-home --home-dir /data lanner
COPY --from=build /lanner/target/release/lanner /usr/local/bin/lanner
USER lanner
VOLUME /data
EXPOSE 7700
# A container's port is reachable only where it is published. Where that is more than this machine,
# give keys (LANNER_API_KEY or --api-keys) and certificates instead of these waivers.
ENTRYPOINT ["lanner"]
CMD ["serve", "--data", "/data/db", "--address", "0.0.0.0:7700", "--insecure-without-key", "--insecure-without-tls"]
