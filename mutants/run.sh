#!/usr/bin/env bash
# Applies each patch of this folder to a copy of the tree and runs the check that it names, which must fail: a rule that
# can be left out unnoticed is not tested. Names as arguments select patches.
set -uo pipefail

root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
# Always the same folders, so that only what a patch touches is compiled again; not the target folder of the tree, where
# cargo would take a broken crate for the tree's own.
commit=$(git -C "$root" rev-parse HEAD)
copy=$root/target/mutants
export CARGO_TARGET_DIR=$root/target/mutants-build
rm -rf "$copy" && mkdir -p "$copy" && git -C "$root" archive "$commit" | tar -x -C "$copy"

failures=0
for patch in "$root"/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    check=$(sed -n 's/^Check: //p' "$patch")
    verdict=caught
    if ! patch -s -p1 -d "$copy" <"$patch" >"$copy/log" 2>&1; then
        verdict="does not apply any more"
    elif ! (cd "$copy" && ${check% -- *} --no-run) >"$copy/log" 2>&1; then
        verdict="does not compile: $(grep -m1 '^error' "$copy/log")"
    elif (cd "$copy" && timeout 600 $check) >"$copy/log" 2>&1; then
        verdict="NOT NOTICED by: $check"
    fi
    printf '%-22s %s\n' "$name" "$verdict"
    [[ $verdict == caught ]] || failures=$((failures + 1))
    # The files get a new time, so that cargo sees that they are as before.
    rm -rf "$copy/crates" && git -C "$root" archive "$commit" crates | tar -x -m -C "$copy"
done
[[ $failures -eq 0 ]] || { echo "$failures patches are not caught" >&2; exit 1; }
