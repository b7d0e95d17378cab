#!/usr/bin/env bash
# The workflow's local profile on small phantoms, end to end: tests/workflow/run.sh [SNAKEMAKE]
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
snakemake=${1:-snakemake}
test -x target/release/vertebrae || cargo build --release
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

# The program needs no environment of its own: that is the one remark of the linter that stays.
remarks=$("$snakemake" -s workflow/Snakefile --lint 2>&1 | grep '^    \*' | grep -v 'conda environment or container' || true)
test -z "$remarks" || fail "the linter says: $remarks"

mkdir "$scratch/scans"
cp testing_dataset/*.nii.gz "$scratch/scans"
echo "no scan" > "$scratch/scans/broken.nii.gz"
cd "$scratch"
run() {
    "$snakemake" -s "$root/workflow/Snakefile" --profile "$root/workflow/profiles/local" \
        --configfile "$root/tests/workflow/config.yaml" --config program="$root/target/release/vertebrae" "$@" \
        > snakemake.log 2>&1 || { cat snakemake.log; tail -n 20 work/logs/*; fail "snakemake"; }
}
run
grep -q '^All Id rate' work/measure/measure.txt || fail "measure printed no figures"
test "$(wc -l < work/predictions/report.jsonl)" -eq 3 || fail "the report does not hold three scans"
grep -q '4 scans, 1 of which could not be used' work/predictions/report.html || fail "the broken scan is not reported"
run --dry-run
grep -q 'Nothing to be done' snakemake.log || fail "a second run would do something again"

# A lost shard is made again, and no other.
rm work/predictions/2/vertebrae-run-2-of-3.json work/predictions/report.html
run --dry-run
grep -Eq '^predict +1$' snakemake.log || fail "not exactly one shard would run again"
run
# A wrong configuration is refused before anything runs.
if "$snakemake" -s "$root/workflow/Snakefile" -n --config device=tpu > refused.log 2>&1; then
    fail "a wrong device was taken"
fi
echo "workflow: pipeline, predictions, resumption and refusal work"
