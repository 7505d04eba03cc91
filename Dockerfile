# An image that holds one static binary, and a static wget for other people's health checks.
#   docker build -t resound .
#   docker run --rm -p 8080:8080 --env-file .env resound
# Without any app Resound listens on the container's 127.0.0.1 only, where nobody outside reaches it: its development app's
# secret is known to everybody. With one it listens on every address.

FROM rust:1-slim-bookworm AS build
# Laravel Sail's service for soketi asks http://localhost:9601 with wget whether it is healthy.
RUN set -eu; \
    apt-get update; \
    apt-get install -y --no-install-recommends busybox-static; \
    cp /bin/busybox /wget
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# not built, but the manifest names files of them
COPY benches benches
COPY examples examples
# Static glibc rather than musl, whose allocator suffers with several threads. Naming the target, the host's own, keeps the
# flags away from build scripts and procedural macros, which can't be static. Random numbers come from the system call
# itself: a static binary can't look getrandom() up at run time and would need /dev/urandom.
RUN set -eu; \
    target="$(rustc -vV | sed -n 's/^host: //p')"; \
    export RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'; \
    cargo build --release --locked --bin resound --target "$target"; \
    cp "target/$target/release/resound" /resound

FROM scratch
COPY --from=build /resound /resound
COPY --from=build /wget /bin/wget
# A number, since there is no /etc/passwd. Ports from 1024 up need no rights, and nothing is written to disk.
USER 65532:65532
# Metrics and probes are for whoever reaches the container, not only for itself. Sail gives every project the same app-id,
# app-key and app-secret: an app that is named may be reached with them, as the published ports decide; Resound warns.
ENV PATH=/bin RESOUND_ADMIN_HOST=0.0.0.0 RESOUND_SERVER_ALLOW_PUBLISHED_SECRET=true
# Sockets and HTTP API, as Reverb; the same when only SOKETI_ variables name an app; metrics and probes.
EXPOSE 8080 6001 9601
# The binary asks itself. It reads the same variables as the server, so set host, port and path by variables
# (RESOUND_SERVER_PORT or REVERB_SERVER_PORT) rather than by arguments.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/resound", "health"]
# As process 1 it gets no default reaction to signals; it handles SIGTERM and SIGINT itself, closes its sockets and exits
# with 0. `docker stop` gives it 10 s, which the default drain time of 5 s fits into; `--stop-timeout 45` covers clients that don't
# answer and webhooks that wait as well.
ENTRYPOINT ["/resound"]
