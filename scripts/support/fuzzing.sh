# What scripts/fuzz and scripts/test share; sourced after common.sh.

fuzz_build=$root/.build-fuzz

# fuzz_targets: their names.
fuzz_targets() { ls "$root/Tests/Fuzzing/Corpus"; }

# has_libfuzzer: whether the toolchain can link it.
has_libfuzzer() {
  local swift
  swift=$(readlink -f "$(command -v swift)")
  compgen -G "$(dirname "$swift")/../lib/clang/*/lib/linux/libclang_rt.fuzzer-$(uname -m).a" >/dev/null
}

# build_fuzzers: one program for all targets. Without the coverage of Swift's code libFuzzer would be blind to it.
build_fuzzers() {
  say "Building the fuzzers"
  CUSTODY_FUZZING=1 swift build --product custody-fuzz --scratch-path "$fuzz_build" --sanitize fuzzer --sanitize address \
    -Xswiftc -sanitize-coverage=edge,trace-cmp,inline-8bit-counters,pc-table -Xswiftc -use-ld=lld
}

# fuzz OPTION... -- TARGET...: runs each under libFuzzer with its seeds and what earlier runs found; a table, and a failure if
# anything was found.
fuzz() {
  local options=() failed=0 program=$fuzz_build/debug/custody-fuzz
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  printf '%-16s %12s %10s %8s %8s %9s\n' target inputs inputs/s edges corpus findings
  for target in "$@"; do
    local own=$fuzz_build/corpus/$target findings=$fuzz_build/findings/$target log=$fuzz_build/$target.log dictionary=()
    mkdir -p "$own" "$findings"
    [ -e "Tests/Fuzzing/Dictionaries/$target.dict" ] && dictionary=("-dict=Tests/Fuzzing/Dictionaries/$target.dict")
    local before status=0
    before=$(find "$findings" -type f | wc -l)
    # Swift's own report of a crash would come before libFuzzer's, which keeps the input.
    CUSTODY_FUZZ_TARGET=$target SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 ASAN_SYMBOLIZER_PATH="$(command -v llvm-symbolizer || true)" \
      "$program" "${options[@]}" "${dictionary[@]}" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$findings/" "$own" "Tests/Fuzzing/Corpus/$target" >"$log" 2>&1 || status=$?
    local found=$(($(find "$findings" -type f | wc -l) - before))
    awk -v target="$target" -v found="$found" '
      /^stat::number_of_executed_units/ { inputs = $2 }
      /^stat::average_exec_per_sec/ { rate = $2 }
      / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
      END { sub("/.*", "", corpus); printf "%-16s %12s %10s %8s %8s %9s\n", target, inputs, rate, edges, corpus, found }' "$log"
    if [ "$status" -ne 0 ] || [ "$found" -ne 0 ]; then
      failed=1
      grep -m1 -E 'Fatal error|ERROR: |libFuzzer: ' "$log" || tail -n 5 "$log"
      echo "  all of it: $log; the input: $findings"
    fi
  done
  return $failed
}
