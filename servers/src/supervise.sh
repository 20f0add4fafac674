# Runs one server in a temporary folder for the process at the other end of standard input, and obeys it:
# each line is an order and is answered by a line. When that process ends, however it ends, so does the
# server, and the folder goes.
#
#   sh -c "$(cat supervise.sh)" supervise NAME LAST-SIGNAL

# Nobody reads our answers any more when that process was killed: that must not end us before we cleaned up.
trap : PIPE HUP INT TERM

folder=$(mktemp -d "${TMPDIR:-/tmp}/polystore-$1-XXXXXX") || exit
echo "$folder"
pid=

# `jobs` takes notice of a child that has ended; until then it would still count as there.
is_alive() {
  jobs >/dev/null
  [ -n "$pid" ] && kill -s 0 "$pid"
}

while read -r order; do
  case $order in
    start)
      sh "$folder/run" </dev/null >>"$folder/log" 2>&1 &
      pid=$!
      echo "$pid"
      ;;
    alive)
      if is_alive; then echo yes; else echo no; fi
      ;;
    STOP | CONT)
      kill -s "$order" "$pid"
      echo sent
      ;;
    *)
      if is_alive; then
        kill -s CONT "$pid"
        kill -s "$order" "$pid"
        wait "$pid"
      fi
      pid=
      echo ended
      ;;
  esac
done

tries=0
while is_alive && [ "$tries" -lt 100 ]; do
  kill -s CONT "$pid"
  kill -s "$2" "$pid"
  sleep 0.05
  tries=$((tries + 1))
done
if is_alive; then kill -s KILL "$pid"; fi
wait

# What the server had started itself may still be writing for a moment.
tries=0
until rm -rf "$folder" || [ "$tries" -ge 100 ]; do
  sleep 0.05
  tries=$((tries + 1))
done
