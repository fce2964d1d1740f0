#!/bin/bash
# Install the Debian 12 packages that relive needs.
#
#   scripts/setup.sh                  build, test and demo
#   scripts/setup.sh GROUP...         some of: build test demo bench peers
#
# Only what is missing is installed; when nothing is, neither the network nor
# any right beyond reading is used. Run as root, or with sudo installed.
set -u

# What compiling and running need. seabios is the guest's firmware.
build='gcc libc6-dev make binutils pkg-config libzydis-dev liblmdb-dev
       libzstd-dev zlib1g-dev libxxhash-dev libjansson-dev libpng-dev
       liblua5.4-dev libedit-dev libdw-dev seabios'
# Unit tests, fuzzers (clang), gdb as a client, and the tools that assemble guests.
test='libcmocka-dev clang lld gdb crash libclang-rt-14-dev cpio gzip xorriso mtools
      grub-common grub-pc-bin qemu-utils bsdutils lua5.4'
demo='cpio gzip'
# Benchmarks, their history and dashboard; and other emulators beside relive.
bench='cpio gzip lua5.4'
peers='qemu-system-x86 bochs bochs-term bsdutils seabios'

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

have() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

[ $# -gt 0 ] || set -- build test demo
wanted=
for group; do
    case $group in
    build | test | demo | bench | peers) wanted="$wanted ${!group}" ;;
    *) die "unknown group '$group': expected build, test, demo, bench, peers" ;;
    esac
done
command -v dpkg-query >/dev/null ||
    die "this is not a Debian system: install the equivalents of:" $wanted

missing=
for package in $wanted; do
    case " $missing " in *" $package "*) continue ;; esac
    have "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    say "all packages for $* are installed"
    exit 0
fi
say "installing for $*:$missing"

if [ "$(id -u)" = 0 ]; then
    as_root=env
elif command -v sudo >/dev/null; then
    as_root='sudo env'
else
    die "installing needs root: run 'apt-get install$missing' as root"
fi
apt="$as_root DEBIAN_FRONTEND=noninteractive apt-get -q -y
     -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300"
log=$(mktemp) || die "no temporary file"
trap 'rm -f "$log"' EXIT
# One broken third-party source must not stop the packages of Debian's own.
$apt update >"$log" 2>&1 || say "apt-get update complained; trying anyway"
if ! $apt install --no-install-recommends $missing >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "apt-get could not install:$missing (its last lines are above)"
fi
say "done"
