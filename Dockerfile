# syntax=docker/dockerfile:1
# One static binary, nothing else: no shell, no package manager, not root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.linkedVersion=$VERSION -X main.linkedCommit=$COMMIT" \
      -o /out/dollr-relay ./cmd/dollr-relay \
 && mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/dollr-relay /dollr-relay
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV RELAY_DATABASE_URL=sqlite:/data/relay.db
# The SQLite file and its lock: a local disk, never a network file system.
VOLUME /data
WORKDIR /data
# The admin listener (health, metrics, console) stays on the container's loopback unless RELAY_ADMIN_LISTEN says otherwise.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/dollr-relay", "health"]
ENTRYPOINT ["/dollr-relay"]
CMD ["serve"]
