#!/usr/bin/env bash
# Everything docs/performance.md says about NVIDIA cards, measured in one run of under 9 minutes.
#
#   benches/gpu.sh [OUT]      results go to OUT (gpu-results), one file a step
#
# Needs a card with its driver, NVRTC and CUDA's headers; a binary built with
# 'cargo build --release --features cuda' (built here when it is missing); and, for the other side of the
# comparison, a python3 that has PyTorch with CUDA. What is missing is said and left out.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-results}
binary=${VERTEBRAE:-target/release/vertebrae}
mkdir -p "$out"
[ -x "$binary" ] || cargo build --release --features cuda || exit 1
# Headers that came with Python's CUDA packages serve as well as a toolkit's.
if [ -z "${CUDA_PATH:-}" ] && [ ! -e /usr/local/cuda/include/cuda_fp16.h ]; then
    found=$(python3 -c 'import nvidia, pathlib
for folder in nvidia.__path__:
    for header in pathlib.Path(folder).rglob("cuda_fp16.h"): print(header.parent.parent)' 2>/dev/null | head -1)
    [ -n "$found" ] && export CUDA_PATH=$found
fi

# A step with its own time limit; a failed one is named and the others go on.
step() {
    local name=$1 limit=$2
    shift 2
    printf '== %s\n' "$name"
    if timeout "$limit" "$@" > "$out/$name.txt" 2> "$out/$name.err"; then
        tail -n 25 "$out/$name.txt"
    else
        printf '%s failed (%s): %s\n' "$name" "$?" "$(tail -n 1 "$out/$name.err")"
    fi
}
# The largest memory the card's processes held while a command ran.
watched() {
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 200 > "$out/memory.log" &
    local watcher=$!
    "$@"
    local code=$?
    kill $watcher 2> /dev/null
    awk '$1 > most { most = $1 } END { print "largest memory on the card, MiB:", most }' "$out/memory.log"
    return $code
}
export -f watched
export out

step card 20 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
step devices 60 "$binary" devices
step usual-batch 90 "$binary" benchmark --device cuda
step batch-1 60 "$binary" benchmark --device cuda --batch 1 --repeat 3
step batch-16 90 bash -c "watched '$binary' benchmark --device cuda --batch 16 --repeat 3"
step batch-32 60 "$binary" benchmark --device cuda --batch 32 --repeat 3
step pytorch 90 python3 benches/pytorch_gpu.py

# Training with its loader, and a whole scan, on phantoms.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$binary" gen-phantom "$scratch/scans" --scans 6 --seed 1 > /dev/null
"$binary" gen-detection "$scratch/scans" "$scratch/detection" --samples 20 > /dev/null
"$binary" gen-identification "$scratch/scans" "$scratch/identification" --samples 60 > /dev/null
step train-detection 80 "$binary" train-detection "$scratch/detection" "$scratch/detection" \
    "$scratch/detection.safetensors" --device cuda --epochs 3 --momentum 0.9 \
    --checkpoints "$scratch/checkpoints" --logs "$scratch/logs"
step train-identification 80 "$binary" train-identification "$scratch/identification" "$scratch/identification" \
    "$scratch/identification.safetensors" --device cuda --epochs 3 --momentum 0.9 --initial-level 13 \
    --checkpoints "$scratch/checkpoints" --logs "$scratch/logs"
for device in cuda cpu; do
    step "measure-$device" 60 bash -c "time '$binary' measure '$scratch/scans' '$scratch/detection.safetensors' \
        '$scratch/identification.safetensors' --tiling wide --device $device --plots '$scratch/plots-$device' \
        --json '$out/measure-$device.json'"
done
# The same labels, and centroids within 1 mm.
step agreement 20 python3 - "$out/measure-cpu.json" "$out/measure-cuda.json" << 'END'
import json, math, sys
cpu, card = (json.load(open(path))["scans"] for path in sys.argv[1:])
largest, different = 0.0, 0
for one, other in zip(cpu, card):
    a, b = ({v["label"]: v["mm"] for v in scan["vertebrae"]} for scan in (one, other))
    different += len(set(a) ^ set(b))
    largest = max([largest] + [math.dist(a[label], b[label]) for label in a.keys() & b.keys()])
print(f"{different} labels on one side only, centroids {largest:.2f} mm apart at most")
END
