#!/bin/sh
# Runs tring's camera and sound code against the kernel's virtual devices (vivid, snd-aloop) in a QEMU machine.
#
#   sh tests/camera/run.sh [TRING]     TRING: the program to test [default: $TRING, else target/debug/tring]
#
# Nothing is loaded into this machine's kernel, and the kernel package is unpacked in the work folder, never installed.
#
# - packages:  linux-image-* and busybox-static → $work/kernel and $work/busybox, kept for the next run
# - tring, its libraries, busybox, the modules, init.sh → $work/machine.cpio
# - QEMU:      console → $work/console.log, and what the checks wrote → $work/results/
# - judgement: the machine's own verdict, and the colours of vivid's bars in $work/results/camera.png
#
# Exit status: 0 all checks passed; 1 one did not, or the machine did not come up; 2 something is missing here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${TRING_CAMERA_WORK:-$root/target/camera}
tring=${1:-${TRING:-$root/target/debug/tring}}

# The machine takes half a minute without KVM on two idle cores; twenty times that is broken, not busy.
patience_s=600

# Why we stop, and what to do about it.
missing() {
    echo "test-camera: $*" >&2
    exit 2
}

# Programs the host needs, with the Debian package each comes from.
install_programs() {
    packages=
    for pair in qemu-system-x86_64:qemu-system-x86 modprobe:kmod pngtopnm:netpbm; do
        command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
    done
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null || missing "not installed here:$packages (Debian's names)"
    [ "$(id -u)" = 0 ] || missing "not installed here; run: sudo apt-get install --no-install-recommends$packages"
    lists
    # One word a package: splitting is wanted.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >"$work/apt.log" 2>&1 ||
        missing "apt-get cannot install$packages; see $work/apt.log"
}

# Fetches apt's lists where there are none yet, as in a fresh container.
lists() {
    apt-cache show busybox-static >/dev/null 2>&1 && return 0
    [ "$(id -u)" = 0 ] || missing "apt's lists are empty; run: sudo apt-get update"
    apt-get update -qq
}

# unpack PACKAGE FOLDER: fetches a package of this system's release and unpacks it, without installing it.
unpack() {
    rm -rf "$2.deb.d" "$2"
    mkdir -p "$2.deb.d"
    (cd "$2.deb.d" && apt-get download -qq "$1" 2>"$work/apt.log") ||
        missing "apt-get cannot download $1; see $work/apt.log"
    dpkg-deb -x "$2.deb.d"/*.deb "$2"
    rm -rf "$2.deb.d"
}

# $work/kernel: vmlinuz, and under modules/ each needed module as NN-NAME.ko, NN being the order to load them in.
# Renamed into place at the end, so that an interrupted run leaves nothing half done.
get_kernel() {
    [ -d "$work/kernel" ] && return 0
    lists
    package=$(apt-cache show --no-all-versions linux-image-amd64 2>/dev/null |
        sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p')
    [ -n "$package" ] || missing "no package linux-image-amd64 here; this test needs Debian's kernel, which has vivid"
    release=${package#linux-image-}
    echo "test-camera: fetching $package"
    unpack "$package" "$work/unpacked"
    # Debian 13 has /usr/lib/modules, where modprobe looks for /lib/modules.
    [ -d "$work/unpacked/lib" ] || ln -s usr/lib "$work/unpacked/lib"
    depmod -b "$work/unpacked" "$release"
    rm -rf "$work/kernel.new"
    mkdir -p "$work/kernel.new/modules"
    cp "$work/unpacked/boot/vmlinuz-$release" "$work/kernel.new/vmlinuz"
    number=10
    for module in vivid snd-aloop; do
        modprobe -d "$work/unpacked" -S "$release" --show-depends "$module" >"$work/order" ||
            missing "$package has no module $module"
        while read -r _ file; do
            name=$(basename "$file")
            to=$work/kernel.new/modules/$number-${name%%.*}.ko
            case $name in
                *.xz) "$work/busybox/bin/busybox" unxz -c "$file" >"$to" ;;
                *) cp "$file" "$to" ;;
            esac
            number=$((number + 1))
        done <"$work/order"
    done
    mv "$work/kernel.new" "$work/kernel"
    rm -rf "$work/unpacked" "$work/order"
}

get_busybox() {
    [ -d "$work/busybox" ] && return 0
    lists
    unpack busybox-static "$work/busybox.new"
    # With a merged /usr the program is in usr/bin.
    [ -d "$work/busybox.new/bin" ] || ln -s usr/bin "$work/busybox.new/bin"
    mv "$work/busybox.new" "$work/busybox"
}

# The machine's memory disk: not compressed, for unpacking in an emulated processor takes longer than copying.
build_machine() {
    disk=$work/disk
    rm -rf "$disk"
    mkdir -p "$disk/bin" "$disk/modules" "$disk/usr/share"
    cp "$work/busybox/bin/busybox" "$disk/bin/busybox"
    cp "$work"/kernel/modules/*.ko "$disk/modules/"
    cp "$here/init.sh" "$disk/init"
    chmod 755 "$disk/init"
    # Debug symbols are most of a debug build, and the machine has them in memory twice while it starts.
    strip -o "$disk/bin/tring" "$tring" 2>/dev/null || cp "$tring" "$disk/bin/tring"
    ldd "$tring" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' | while read -r library; do
        mkdir -p "$disk$(dirname "$library")"
        cp -L "$library" "$disk$library"
    done
    # ALSA's library names no device without its settings.
    if [ -d /usr/share/alsa ]; then
        mkdir "$disk/usr/share/alsa"
        cp -R /usr/share/alsa/alsa.conf /usr/share/alsa/pcm /usr/share/alsa/cards /usr/share/alsa/ctl \
            "$disk/usr/share/alsa/"
    fi
    (cd "$disk" && find . | "$work/busybox/bin/busybox" cpio -o -H newc 2>/dev/null) >"$work/machine.cpio"
}

# First serial port: the console. Second: a tar of the results.
run_machine() {
    rm -rf "$work/console.log" "$work/results.tar" "$work/results"
    mkdir "$work/results"
    timeout "$patience_s" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$work/kernel/vmlinuz" -initrd "$work/machine.cpio" -append "console=ttyS0 quiet panic=-1" \
        -serial "file:$work/console.log" -serial "file:$work/results.tar" >"$work/qemu.log" 2>&1 </dev/null || {
        echo "test-camera: qemu ended with status $? (124: more than $patience_s s)"
        cat "$work/qemu.log"
    }
    tar -xf "$work/results.tar" -C "$work/results" 2>/dev/null || echo "test-camera: the machine handed out no results"
}

# vivid draws eight bars at 75 %, and nine lines of 16 pixels with captions over them: 144 of the 180 rows. Further
# down the middle of each bar must have its colour; the codec and its coarser chroma move it by a few levels.
check_picture() {
    [ -s "$work/results/camera.png" ] || return 1
    pngtopnm -plain "$work/results/camera.png" | awk '
        { for (i = 1; i <= NF; i++) value[n++] = $i }
        END {
            if (value[0] != "P3") { print "FAIL the picture has no colours"; exit 1 }
            width = value[1]; height = value[2]; row = int(height * 0.9); wrong = 0
            split("111 110 011 010 101 100 001 000", bars)
            split("white yellow cyan green magenta red blue black", names)
            for (bar = 1; bar <= 8; bar++) {
                at = 4 + 3 * (row * width + int((bar - 0.5) * width / 8)); seen = ""
                for (c = 0; c < 3; c++) {
                    off = value[at + c] - 191 * substr(bars[bar], c + 1, 1)
                    if (off > 24 || off < -24) wrong = 1
                    seen = seen " " value[at + c]
                }
                line = line "  " names[bar] seen
            }
            print (wrong ? "FAIL" : "ok  ") " " width "x" height " colour bars:" line
            exit wrong
        }'
}

main() {
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || missing "runs on 64-bit x86 Linux only"
    [ -x "$tring" ] || missing "$tring is not there; build it, or name another: sh tests/camera/run.sh FILE"
    mkdir -p "$work"
    work=$(cd "$work" && pwd)
    install_programs
    get_busybox
    get_kernel
    build_machine
    echo "test-camera: starting the machine, which takes half a minute or more"
    run_machine
    status=0
    tr -d '\r' <"$work/console.log" | grep -E '^(ok  |FAIL|VERDICT)' || true
    tr -d '\r' <"$work/console.log" | grep -qx 'VERDICT passed' || status=1
    check_picture || status=1
    if [ "$status" != 0 ]; then
        echo "test-camera: failed; the machine's console:"
        tr -d '\r' <"$work/console.log"
    fi
    echo "test-camera: picture and events are in $work/results"
    return "$status"
}

main
