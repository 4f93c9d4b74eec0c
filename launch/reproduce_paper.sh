#!/usr/bin/env bash
# Every row of the paper's table (arXiv 2510.26109) that we have settings for: trains, evaluates and compares.
#
#   bash launch/reproduce_paper.sh --train train.jsonl [--sizes "4b 8b"] [--arms "grpo lte"] [--folder runs/paper]
#       [--dry-run] [KEY=VALUE ...]
#
# Arms: grpo, grpo-entropy, extra, extra-entropy, lte, lte-entropy, dapo, luffy, evocot, relift; all where none are named.
# luffy and relift want a `trace`, the response of a stronger model, in the rows of train.jsonl.
# --dry-run lists the commands and runs none. A stopped script continues: trained runs and drawn samples are kept.
# The six benchmark files lie in ./benchmarks (configs/suites/paper.yaml). KEY=VALUE goes to every `lte train`.
set -euo pipefail

declare -A revision=(
    [4b]=906bfd4b4dc7f14ee4320094d8b41684abff8539
    [8b]=49e3418fbbbca6ecbdf9608b4d22e5a407081db4
)
arms="grpo grpo-entropy extra extra-entropy lte lte-entropy dapo luffy evocot relift"
sizes="4b 8b" folder=runs/paper train="" dry_run=""
overrides=()

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

while (($#)); do
    case $1 in
        --train | --sizes | --arms | --folder)
            [[ $# -ge 2 ]] || usage
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        --dry-run) dry_run=yes ;;
        *=*) overrides+=("$1") ;;
        *) usage ;;
    esac
    shift
done
[[ -n $train ]] || usage

lte=${VENV:-.venv}/bin/lte

run() {
    printf '%q ' "$@"
    printf '\n'
    [[ -n $dry_run ]] || "$@"
}

for size in $sizes; do
    [[ -n ${revision[$size]:-} ]] || { echo "no such size: $size; wanted 4b or 8b" >&2; exit 2; }
    for arm in $arms; do
        [[ -f configs/qwen3-$size-$arm.yaml ]] || { echo "no such arm: $arm" >&2; exit 2; }
    done
done

for size in $sizes; do
    model=Qwen/Qwen3-${size^^}-Base
    tables=(--suite configs/suites/paper.yaml --paper "$size")
    run "$lte" eval "$model" "model.revision=${revision[$size]}" --config "configs/qwen3-$size-base.yaml" \
        "${tables[@]}" --output "$folder/$size-base"
    for arm in $arms; do
        run "$lte" train "configs/qwen3-$size-$arm.yaml" --run "$folder/$size-$arm" "data.train=$train" \
            "model.path=$model" "model.revision=${revision[$size]}" "${overrides[@]}"
        run "$lte" eval "$folder/$size-$arm" "${tables[@]}" --output "$folder/$size-$arm/paper"
    done
    for pair in "grpo lte" "extra lte" "grpo-entropy lte-entropy" "extra-entropy lte-entropy"; do
        read -r reference arm <<<"$pair"
        [[ " $arms " == *" $reference "* && " $arms " == *" $arm "* ]] || continue
        run "$lte" compare "$folder/$size-$reference/paper" "$folder/$size-$arm/paper"
    done
done
