#!/bin/busybox sh
# shellcheck shell=dash
# The first and only program of the test machine: loads the virtual devices, checks tring against them, says
# "ok   WHAT" or "FAIL WHAT" a check and at last "VERDICT passed" or "VERDICT failed" on the console, sends
# /results as a tar over the second serial port, and switches the machine off.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/ NO_COLOR=1
out=/results
failures=0

ok() {
    echo "ok   $*"
}

fail() {
    echo "FAIL $*"
    failures=$((failures + 1))
}

# check WHAT COMMAND…: one check.
check() {
    what=$1
    shift
    if "$@"; then ok "$what"; else fail "$what"; fi
}

finish() {
    if [ "$failures" = 0 ]; then echo "VERDICT passed"; else echo "VERDICT failed"; fi
    dmesg >$out/dmesg
    stty -F /dev/ttyS1 raw
    tar -C $out -cf /dev/ttyS1 .
    sync
    poweroff -f
}

# within SECONDS COMMAND…: waits until it succeeds.
within() {
    left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 1
    done
}

load_modules() {
    for file in /modules/*.ko; do
        case $file in
            # A webcam, with the second node for metadata that real ones have too.
            *-vivid.ko) insmod "$file" n_devs=1 node_types=0x20001 num_inputs=1 input_types=0 ;;
            *) insmod "$file" ;;
        esac || fail "insmod $file"
    done
}

# talk NAME "BOB'S OPTIONS" "ALICE'S OPTIONS": one call from alice to bob.
# Leaves $out/NAME-{alice,bob}.json and .log, and their exit statuses in $alice and $bob.
talk() {
    name=$1
    # shellcheck disable=SC2086 # options are words
    timeout 90 tring listen --id bob --answer auto --once --show none --json $2 \
        >"$out/$name-bob.json" 2>"$out/$name-bob.log" &
    bob_pid=$!
    within 30 grep -q '"event":"online"' "$out/$name-bob.json"
    # shellcheck disable=SC2086
    timeout 90 tring call bob --id alice --show none --json $3 >"$out/$name-alice.json" 2>"$out/$name-alice.log"
    alice=$?
    # Without a call bob would wait for one.
    [ $alice = 0 ] || kill $bob_pid 2>/dev/null
    wait $bob_pid
    bob=$?
    check "$name: both ends end with 0" [ "$alice $bob" = "0 0" ]
    [ "$alice $bob" = "0 0" ] || show "$out/$name"-*
}

show() {
    for file in "$@"; do
        echo "--- $file"
        tail -n 15 "$file" | cut -c 1-600
    done
}

# received WHO KIND FIELD: a count in the closing summary of $out/WHO.json, KIND being video or audio.
received() {
    sed -n "s/.*\"event\":\"summary\".*\"received\":{.*\"$2\":{[^{}]*\"$3\":\([0-9]*\).*/\1/p" "$out/$1.json"
}

at_least() {
    [ "${2:-0}" -ge "$1" ]
}

mkdir -p /proc /sys /dev /tmp $out
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/shm
mount -t tmpfs none /tmp
exec </dev/null >/dev/ttyS0 2>&1
echo "machine: up after $(cut -d ' ' -f 1 /proc/uptime) s"
ip link set lo up
load_modules
if ! within 10 [ -c /dev/video0 ]; then
    fail "vivid gives no /dev/video0"
    finish
fi

timeout 60 tring devices --json >$out/devices.json 2>$out/devices.log
check "devices: ends with 0" [ $? = 0 ]
check "devices: lists vivid" grep -q '"cameras":\[{"index":"0","name":"vivid' $out/devices.json
check "devices: lists its formats" grep -q '640x480 at [0-9, ]* fps, YUYV' $out/devices.json
check "devices: leaves the metadata node out" [ "$(grep -o '"name":"vivid' $out/devices.json | wc -l)" = 1 ]
check "devices: lists the sound card" grep -q 'plughw:CARD=Loopback' $out/devices.json
[ "$failures" = 0 ] || { ls -l /dev/video* /dev/snd/*; show $out/devices.*; }

tring serve --json >$out/serve.json 2>$out/serve.log &
serve=$!
within 30 grep -q serving $out/serve.json || fail "serve: does not start"

talk camera "--video none --audio tone --play none --snapshot $out/camera.png" \
    "--video camera --audio tone --play none --duration 5s --size 320x240 --fps 10"
frames=$(received camera-bob video frames)
check "camera: bob saw ${frames:-no} pictures" at_least 20 "$frames"
check "camera: bob saved one" [ -s $out/camera.png ]

talk by-name "--video none --audio none --play none" \
    "--video camera:vivid --audio none --play none --duration 3s --size 320x240 --fps 10 --codec vp8"
frames=$(received by-name-bob video frames)
check "camera:vivid: bob saw ${frames:-no} pictures" at_least 10 "$frames"

# Alice's tone goes to bob's speaker, which the loop device hands to bob's microphone, and so back to alice.
talk sound "--video none --audio mic:plughw:CARD=Loopback,DEV=1 --play speaker:plughw:CARD=Loopback,DEV=0" \
    "--video none --audio tone --play none --duration 5s"
check "sound: alice hears her tone through bob's speaker and microphone" \
    grep -q '"event":"summary".*"tones_heard":\[[0-9]' $out/sound-alice.json

rmmod vivid
timeout 60 tring listen --id bob --answer auto --video none --audio none --show none --play none --json \
    >$out/gone-bob.json 2>&1 &
bob=$!
within 30 grep -q '"event":"online"' $out/gone-bob.json
timeout 60 tring call bob --id alice --video camera --audio none --show none --play none >$out/gone-alice.log 2>&1
status=$?
check "no camera: ends with $status, wanted 25" [ $status = 25 ]
check "no camera: names tring devices and --video test" \
    grep -q 'no camera found.*tring devices.*--video test' $out/gone-alice.log
show $out/gone-alice.log
timeout 60 tring devices --json >$out/devices-gone.json 2>&1
check "no camera: devices lists none" grep -q '"cameras":\[\]' $out/devices-gone.json

kill $bob $serve
wait $bob $serve 2>/dev/null
echo "machine: done after $(cut -d ' ' -f 1 /proc/uptime) s"
finish
