# Tables of text to a CycloneDX 1.5 document (https://cyclonedx.org/docs/1.5/json/).

def table: split("\n") | map(select(. != "") | split("\t"));
def purl($name; $version): "pkg:cargo/\($name)@\($version)";

($checksums | table | map({key: "\(.[0])@\(.[1])", value: .[2]}) | from_entries) as $sums
| ($crates | table | map({depth: (.[0] | tonumber), name: .[1], version: .[2], licence: .[3]})) as $lines
| ($programs | table | map({name: .[0], package: .[1], sum: .[2]})) as $built

# Each line depends on the nearest one above it that is one step further out.
| (reduce $lines[] as $line ({above: [], edges: []};
    purl($line.name; $line.version) as $ref
    | .above = (.above[:$line.depth] + [$ref])
    | if $line.depth > 0 then .edges += [[.above[$line.depth - 1], $ref]] else . end)
  | .edges | unique) as $edges
| ["rust-std", "glibc"] as $runtime

| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: ($time | todate),
      component: {
        type: "application",
        "bom-ref": "oci-apparmor",
        name: "oci-apparmor",
        version: $version,
        licenses: [{license: {id: "Apache-2.0"}}],
        properties: [{name: "oci-apparmor:architecture", value: $arch}]
      }
    },
    components: (
      [$built[] | {
        type: "application",
        "bom-ref": "program:\(.name)",
        name,
        version: $version,
        hashes: [{alg: "SHA-256", content: .sum}],
        licenses: [{license: {id: "Apache-2.0"}}]
      }]
      + [$lines | unique_by([.name, .version])[] | {
          type: "library",
          "bom-ref": purl(.name; .version),
          name,
          version,
          licenses: [{expression: .licence}],
          purl: purl(.name; .version)
        } + (
          # Those of the workspace have none.
          $sums["\(.name)@\(.version)"]
          | if . then {hashes: [{alg: "SHA-256", content: .}]} else {} end)]
      + [{
          type: "library",
          "bom-ref": "rust-std",
          name: "rust-std",
          version: $rust,
          description: "the standard library of Rust, with the crates that it is built from",
          licenses: [{expression: "MIT OR Apache-2.0"}]
        }, {
          type: "library",
          "bom-ref": "glibc",
          name: "glibc",
          version: $glibc,
          description: $build,
          licenses: [{license: {id: "LGPL-2.1-or-later"}}]
        }]),
    dependencies: (
      [{ref: "oci-apparmor", dependsOn: [$built[] | "program:\(.name)"]}]
      + [$built[] | {ref: "program:\(.name)", dependsOn: ([purl(.package; $version)] + $runtime)}]
      + [$lines | map(purl(.name; .version)) | unique[] | . as $ref | {
          ref: $ref,
          dependsOn: [$edges[] | select(.[0] == $ref) | .[1]]
        }]
      + [$runtime[] | {ref: ., dependsOn: []}])
  }
