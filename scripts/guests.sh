#!/bin/bash
# Fetch Debian packages that hold guests, and build test guests from them.
#
#   scripts/guests.sh [DIRECTORY] [WHAT...]     default: build/guests all
#
# WHAT: amd64 (kernel and initramfs), i386 (the same), memtest, grub (a rescue
# ISO); all is these four. What is there already is left alone, and then the
# network is not used. Packages are downloaded and unpacked, never installed;
# the system's package lists and architectures are not touched.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$here/build/guests}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- all
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)

say() { printf 'guests: %s\n' "$*"; }
fail() { printf 'guests: %s\n' "$*" >&2; return 1; }

# Prints apt's options for an architecture's private state: the system's
# sources and keys, but lists, cache and architecture of our own, so that i386
# packages can be fetched without 'dpkg --add-architecture'.
apt_options() {
    local dir=$out/apt/$1
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    [ -e "$dir/status" ] || : >"$dir/status"
    printf '%s\n' -q -q -o APT::Architecture="$1" -o APT::Architectures="$1" \
        -o Dir::State="$dir" -o Dir::State::lists="$dir/lists" \
        -o Dir::State::status="$dir/status" -o Dir::Cache="$dir/cache" \
        -o Acquire::Retries=3 -o Acquire::Languages=none \
        -o Acquire::http::Timeout=30 -o APT::Sandbox::User=root
}

# Reads an architecture's package lists, once.
update() {
    local options
    mapfile -t options < <(apt_options "$1")
    [ -e "$out/apt/$1/updated" ] && return 0
    say "reading the $1 package lists"
    # A source that fails is no loss as long as the packages are found.
    apt-get "${options[@]}" update >"$out/apt/$1/log" 2>&1
    : >"$out/apt/$1/updated"
}

# fetch ARCH PACKAGE: downloads and unpacks into $out/ARCH/PACKAGE.
fetch() {
    local arch=$1 package=$2 dir=$out/$1/$2 options
    [ -e "$dir/.done" ] && return 0
    mapfile -t options < <(apt_options "$arch")
    update "$arch"
    say "fetching $package ($arch)"
    rm -rf "$dir" && mkdir -p "$dir/deb" || return 1
    if ! (cd "$dir/deb" && apt-get "${options[@]}" download "$package") \
        >>"$out/apt/$arch/log" 2>&1; then
        rm -f "$out/apt/$arch/updated"
        tail -n 3 "$out/apt/$arch/log" >&2
        fail "package $package ($arch) could not be fetched"
        return 1
    fi
    dpkg-deb -x "$dir"/deb/*.deb "$dir" || return 1
    rm -rf "$dir/deb"
    : >"$dir/.done"
}

# Modules for an IDE disk and CD, and for a PS/2 mouse.
disk='ata_piix sd_mod sr_mod'
mouse='psmouse evdev mousedev'

# with_needs TREE DIRECTORY MODULE: copies a module and those it needs, and
# prints their names, what is needed first. Its .modinfo section names them.
with_needs() {
    local file need
    file=$(find "$1/lib/modules" -name "$3.ko" -o -name "${3//_/-}.ko" |
        head -n 1)
    [ -n "$file" ] || return 0
    for need in $(grep -a -o 'depends=[a-z0-9_,-]*' "$file" | head -n 1 |
        sed 's/depends=//; s/,/ /g'); do
        with_needs "$1" "$2" "$need"
    done
    cp "$file" "$2/${3//-/_}.ko"
    printf '%s\n' "${3//-/_}"
}

# initramfs ARCH OUTPUT
initramfs() {
    local root
    root=$(mktemp -d) || return 1
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,lib}
    cp "$out/$1/busybox-static/bin/busybox" "$root/bin/busybox" || return 1
    cp "$here/tests/guests/init" "$root/init" && chmod 755 "$root/init"
    cp "$out/$1"/modules/* "$root/lib/" || return 1
    (cd "$root" && find . | LC_ALL=C sort |
        cpio --quiet -o -H newc --owner 0:0 --reproducible) |
        gzip -n -9 >"$2.new" && mv "$2.new" "$2"
    rm -rf "$root"
    [ -s "$2" ]
}

# Takes the kernel and the modules of interest out of its package.
kernel() { # kernel ARCH METAPACKAGE
    local name tree module options
    [ -s "$out/vmlinuz-$1" ] && [ -d "$out/$1/modules" ] && return 0
    mapfile -t options < <(apt_options "$1")
    update "$1"
    name=$(apt-cache "${options[@]}" depends "$2" 2>/dev/null |
        sed -n 's/^ *Depends: *\(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1)
    [ -n "$name" ] || { fail "no $1 package '$2' is known"; return 1; }
    fetch "$1" "$name" || return 1
    tree=$out/$1/$name
    mkdir -p "$out/$1/modules.new"
    # The checksums that sd_mod uses are looked up by name when it loads.
    for module in crct10dif_generic crc64_rocksoft_generic $disk; do
        with_needs "$tree" "$out/$1/modules.new" "$module"
    done | awk '!seen[$0]++' >"$out/$1/modules.new/disk.list"
    for module in $mouse; do
        with_needs "$tree" "$out/$1/modules.new" "$module"
    done | awk '!seen[$0]++' >"$out/$1/modules.new/mouse.list"
    cp "$tree"/boot/vmlinuz-* "$out/vmlinuz-$1.new" || return 1
    rm -rf "$tree" "$out/$1/modules" # unpacked it takes 400 MB
    mv "$out/$1/modules.new" "$out/$1/modules"
    mv "$out/vmlinuz-$1.new" "$out/vmlinuz-$1"
    say "vmlinuz-$1 is ready ($name)"
}

linux() { # linux ARCH METAPACKAGE
    if [ -s "$out/vmlinuz-$1" ] && [ -s "$out/initrd-$1" ] &&
        [ ! "$here/tests/guests/init" -nt "$out/initrd-$1" ]; then
        return 0
    fi
    command -v cpio >/dev/null || { fail "cpio is not installed"; return 1; }
    fetch "$1" busybox-static || return 1
    kernel "$1" "$2" || return 1
    initramfs "$1" "$out/initrd-$1" || return 1
    say "initrd-$1 is ready"
}

memtest() {
    local dir=$out/amd64/memtest86+ file
    [ -s "$out/memtest.bin" ] && [ -s "$out/memtest.iso" ] && return 0
    fetch amd64 memtest86+ || return 1
    # Debian 12 ships the bzImage-like binaries and an ISO of each.
    for file in "$dir"/boot/memtest86+*.bin; do
        case $file in *ia32*) continue ;; esac
        cp "$file" "$out/memtest.bin" && break
    done
    for file in $(find "$dir" -name '*.iso*' | LC_ALL=C sort); do
        case $file in
        *.iso.gz) gzip -dc "$file" >"$out/memtest.iso" ;;
        *.iso) cp "$file" "$out/memtest.iso" ;;
        esac
    done
    [ -s "$out/memtest.bin" ] || { fail "memtest86+ has no image"; return 1; }
    say "memtest86+ is ready"
}

grub() {
    local root
    [ -s "$out/grub.iso" ] && return 0
    command -v grub-mkrescue >/dev/null && command -v xorriso >/dev/null ||
        { fail "grub-mkrescue or xorriso is not installed"; return 1; }
    root=$(mktemp -d) || return 1
    mkdir -p "$root/boot/grub"
    cp "$here/tests/guests/grub.cfg" "$root/boot/grub/grub.cfg"
    grub-mkrescue -d /usr/lib/grub/i386-pc -o "$out/grub.iso.new" "$root" \
        >"$out/grub.log" 2>&1 || { tail -n 3 "$out/grub.log" >&2
        rm -rf "$root"; fail "grub-mkrescue failed"; return 1; }
    mv "$out/grub.iso.new" "$out/grub.iso"
    rm -rf "$root"
    say "grub.iso is ready"
}

status=0
for what; do
    case $what in
    amd64) linux amd64 linux-image-amd64 || status=1 ;;
    i386) linux i386 linux-image-686-pae || status=1 ;;
    memtest) memtest || status=1 ;;
    grub) grub || status=1 ;;
    all)
        linux amd64 linux-image-amd64 || status=1
        linux i386 linux-image-686-pae || status=1
        memtest || status=1
        grub || status=1
        ;;
    *) fail "unknown guest '$what'"; status=1 ;;
    esac
done
exit $status
