#!/usr/bin/env bash
# The container, where Docker runs; else its last stage in a folder of its own: the program alone, as nobody, without a network.
#
#   tests/container/run.sh PROGRAM      a static program with its networks inside, such as `make dist` builds
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if docker info >/dev/null 2>&1; then
    docker build --quiet --file container/Dockerfile --tag vertebrae-test .
    mkdir -m 777 "$scratch/results"
    docker run --rm --network none -v "$PWD/testing_dataset:/scans:ro" -v "$scratch/results:/data" vertebrae-test \
        predict /scans/phantom-11-001.nii.gz --output /data --quiet
    size=$(docker image inspect vertebrae-test --format '{{.Size}}')
    results=$scratch/results
elif ! unshare --net true 2>/dev/null; then
    echo "SKIPPED: neither Docker nor a network namespace can be had here"
    exit 77
else
    echo "no Docker runs here: the container's last stage is made by hand"
    image=$scratch/image
    mkdir -p "$image/data" "$image/tmp" "$image/scans"
    chmod 1777 "$image/tmp" "$image/data"
    cp "$program" "$image/vertebrae"
    strip "$image/vertebrae"
    cp testing_dataset/phantom-11-001.nii.gz "$image/scans/"
    chmod 755 "$scratch"
    unshare --net chroot --userspec=65534:65534 "$image" /vertebrae predict /scans/phantom-11-001.nii.gz --output /data --quiet
    size=$(stat --format %s "$image/vertebrae")
    results=$image/data
fi
grep -q '"label"' "$results/phantom-11-001.vertebrae.json"
test "$size" -lt 100000000
echo "the container names the vertebrae of a phantom without a network; it has $((size / 1000000)) MB"
