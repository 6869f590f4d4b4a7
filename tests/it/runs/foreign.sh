#!/bin/sh
# A peer of another make, in its simplest form: it says that it is there, obeys, and ends when it is told to.
echo "{\"event\":\"online\",\"id\":\"$TRING_ID\",\"broker\":\"$TRING_BROKER\",\"partner\":\"$PEER_ALICE\"}"
while read -r line; do
    case $line in
    *'"hold"'*) echo '{"event":"held","side":"local","on":true}' ;;
    *'"quit"'*)
        echo '{"event":"ended","reason":"hangup"}'
        exit 7
        ;;
    esac
done
echo "nobody says that it is over" >&2
exit 1
