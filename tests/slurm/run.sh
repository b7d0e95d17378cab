#!/usr/bin/env bash
# The workflow under a real Slurm, a job of it killed midway: tests/slurm/run.sh [SNAKEMAKE]
#
# Ends with exit code 77 where Slurm does not start. Needs root and: apt-get install slurmctld slurmd slurm-client munge; pip install -r workflow/requirements.txt
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
snakemake=${1:-snakemake}
test -x target/release/vertebrae || cargo build --release
scratch=$(mktemp -d)
# Slurm's daemons are nobody's children: they are stopped whatever happens.
trap '"$root/tests/slurm/cluster.sh" stop "$scratch/slurm"; rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*"; tail -n 30 "$scratch/snakemake.log"; exit 1; }

chmod 755 "$scratch"
tests/slurm/cluster.sh start "$scratch/slurm" || { echo "SKIPPED: Slurm does not start here"; exit 77; }

# Enough scans that a job can be met while it runs.
mkdir "$scratch/scans"
for number in $(seq -w 300); do
    ln -s "$root/testing_dataset/phantom-11-001.nii.gz" "$scratch/scans/scan-$number.nii.gz"
done
echo "no scan" > "$scratch/scans/broken.nii.gz"
cd "$scratch"
"$snakemake" -s "$root/workflow/Snakefile" --profile "$root/workflow/profiles/slurm" \
    --configfile "$root/tests/workflow/config.yaml" --config program="$root/target/release/vertebrae" \
    --slurm-status-command squeue --slurm-init-seconds-before-status-checks 5 --latency-wait 5 \
    --slurm-keep-successful-logs > snakemake.log 2>&1 &
workflow=$!

# The killed job is one that has results already, but not all.
killed=
while kill -0 $workflow 2>/dev/null && test -z "$killed"; do
    for shard in 1 2 3; do
        results=$(find "work/predictions/$shard" -name '*.vertebrae.json' 2>/dev/null | wc -l || true)
        if test "$results" -gt 3 && test "$results" -lt 80; then
            # A job's comment names its rule and its wildcards.
            job=$(squeue --noheader --states=running --format='%i %k' |
                awk -v comment="rule_predict_wildcards_${shard}_3" '$2 == comment { print $1 }')
            if test -n "$job" && scancel --signal=KILL --full "$job"; then
                killed=$job
                echo "killed job $job with $results results in shard $shard"
                break
            fi
        fi
    done
    sleep 0.2
done
test -n "$killed" || fail "no job could be met while it ran"
wait $workflow || fail "the workflow did not end well"
grep -q "Trying to restart job" snakemake.log || fail "the killed job was not tried again"
grep -q '^All Id rate' work/measure/measure.txt || fail "measure printed no figures"
test "$(wc -l < work/predictions/report.jsonl)" -eq 300 || fail "the report does not hold 300 scans"
grep -q '301 scans, 1 of which could not be used' work/predictions/report.html || fail "the broken scan is not reported"
kept=$(grep -h '"kept"' work/predictions/*/vertebrae-run-*.json | tr -dc '0-9\n' | sort -n | tail -1)
test "$kept" -gt 0 || fail "the second try did everything again"
echo "slurm: $(squeue --noheader --states=all | wc -l) jobs, one killed and tried again with $kept results kept; all complete"
