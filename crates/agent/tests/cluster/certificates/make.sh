#!/bin/sh
# Makes the certificates of the tests, valid for 100 years: two authorities, each with a server.
# Run it here if they have to change.
set -eu
for n in 1 2; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
        -subj "/CN=test authority $n" -keyout authority.key -out "authority-$n.pem"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=127.0.0.1" -keyout "server-$n.key" -out server.csr
    printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >extensions
    openssl x509 -req -in server.csr -CA "authority-$n.pem" -CAkey authority.key -days 36500 \
        -set_serial "$n" -extfile extensions -out "server-$n.pem"
done
rm authority.key server.csr extensions
