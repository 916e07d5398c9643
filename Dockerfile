# korder's image, for those who build with Docker: docker build -t REGISTRY/korder:VERSION .
# `make images` makes the same one without it.

# Any image with the Rust of rust-toolchain.toml, or with rustup, and a linker.
ARG RUST=docker.io/library/rust:1.95.0-bookworm

FROM ${RUST} AS build
WORKDIR /src
COPY . .
RUN cargo rustc --locked --release -p korder --bin korder -- -C target-feature=+crt-static

# The program needs no library: nothing else is in the image.
FROM scratch
COPY --from=build /src/target/release/korder /korder
# Nobody's, as distroless' "nonroot"; a number, so that a kubelet can see that it is not root.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/korder"]
