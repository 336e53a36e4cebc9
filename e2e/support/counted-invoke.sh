#!/bin/sh
# Notes which task it is called for, and becomes invoke: counted-invoke.sh <invoke...> <task>
for task in "$@"; do :; done
[ -z "$IAC_EXAMPLE_STATE" ] || printf '%s\n' "$task" >>"$IAC_EXAMPLE_STATE/invocations"
exec "$@"
