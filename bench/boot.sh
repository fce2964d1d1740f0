#!/bin/bash
# From power-on to a shell: Debian's kernels for amd64 and i386 with busybox,
# firmware and start of the emulator included.
set -u
usage() {
    printf 'usage: bench/boot.sh [OPTION...]\n\n'
    common_usage
    printf '\nworkloads: amd64, i386\n'
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
parse_options "$@"
list_configs
works=$(chosen amd64 i386) || exit 2
"$root/scripts/guests.sh" "$build/guests" $works || exit 2
pause_us=0
at_end=1
counted=instructions

# What tests/guests/init runs as soon as there is a shell.
shell="relive.run=printf_'>\\n+_shell_0_0\\n'"
guest() { # guest ARCH
    local kernel=$build/guests/vmlinuz-$1 initrd=$build/guests/initrd-$1
    for_relive=(--kernel "$kernel" --initrd "$initrd" --mem 256M
        --append "console=ttyS0 quiet $shell")
    for_qemu=(-kernel "$kernel" -initrd "$initrd" -m 256
        -append "console=ttyS0 quiet $shell")
}

declare -A failed
for ((round = 1; round <= rounds; round++)); do
    for name in $works; do
        guest "$name"
        for config in "${configs[@]}"; do
            [ -z "${failed[$config]:-}" ] || continue
            [ "$config" != bochs ] || continue # a boot takes it minutes
            note "boot, round $round of $rounds: $name, $config"
            measure "$config" "$round" "$name" 1 || failed[$config]=1
        done
    done
done
report boot
