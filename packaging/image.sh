# shellcheck shell=sh disable=SC2154 # packaging/build sets the variables
# An image with nothing but the programs and their licences, written as the OCI image specification
# says (image-layout.md, manifest.md, config.md): a directory, and one archive of it.

# blob FILE: moves it to its place, and prints its digest and its size.
blob() {
    sum=$(sha256sum "$1")
    sum=${sum%% *}
    size=$(stat -c %s "$1")
    mv "$1" "$layout/blobs/sha256/$sum"
    echo "$sum $size"
}

make_image() {
    layout=$work/$name.oci
    tree=$work/image
    mkdir -p "$layout/blobs/sha256" "$tree/usr/bin"
    for program in $image_programs; do
        install -m 0755 "$bindir/$program" "$tree/usr/bin/$program"
    done
    put_licences "$tree/usr/share/doc/oci-apparmor" oci-apparmor oci-apparmor-cli oci-apparmor-agent

    archive "$tree" >"$work/layer.tar"
    content=$(sha256sum "$work/layer.tar")
    gzip -n "$work/layer.tar"
    layer=$(blob "$work/layer.tar.gz")

    # A group, too: without one, the user would be in the group 0. 65532 owns the spool of a node.
    jq -n -c -S --arg arch "$arch" --arg content "sha256:${content%% *}" --arg version "$version" \
        --argjson time "$SOURCE_DATE_EPOCH" '{
            created: ($time | todate),
            architecture: $arch,
            os: "linux",
            config: {
                User: "65532:65532",
                Env: ["PATH=/usr/bin"],
                Entrypoint: ["/usr/bin/oci-apparmor-agent"],
                WorkingDir: "/",
                Labels: {
                    "org.opencontainers.image.title": "oci-apparmor",
                    "org.opencontainers.image.description": "the agent and the installer of oci-apparmor for the nodes of a cluster",
                    "org.opencontainers.image.version": $version,
                    "org.opencontainers.image.licenses": "Apache-2.0"
                }
            },
            rootfs: {type: "layers", diff_ids: [$content]},
            history: [{created: ($time | todate), created_by: "packaging/build image"}]
        }' >"$work/config.json"
    config=$(blob "$work/config.json")

    jq -n -c -S --arg config "$config" --arg layer "$layer" '
        def descriptor($type): split(" ")
            | {mediaType: "application/vnd.oci.image.\($type)", digest: "sha256:\(.[0])", size: (.[1] | tonumber)};
        {
            schemaVersion: 2,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            config: ($config | descriptor("config.v1+json")),
            layers: [$layer | descriptor("layer.v1.tar+gzip")]
        }' >"$work/manifest.json"
    manifest=$(blob "$work/manifest.json")

    # podman takes the name from the one annotation, containerd from the other.
    jq -n -c -S --arg manifest "$manifest" --arg arch "$arch" --arg tag "localhost/oci-apparmor:$version" '{
            schemaVersion: 2,
            mediaType: "application/vnd.oci.image.index.v1+json",
            manifests: [$manifest | split(" ") | {
                mediaType: "application/vnd.oci.image.manifest.v1+json",
                digest: "sha256:\(.[0])",
                size: (.[1] | tonumber),
                platform: {architecture: $arch, os: "linux"},
                annotations: {
                    "io.containerd.image.name": $tag,
                    "org.opencontainers.image.ref.name": $tag
                }
            }]
        }' >"$layout/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

    archive "$layout" >"$work/$name.oci.tar"
    made "$layout"
    made "$work/$name.oci.tar"
    echo "image sha256:${manifest%% *}"
}
