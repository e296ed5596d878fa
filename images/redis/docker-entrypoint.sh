#!/bin/sh
# Runs redis-server by the same rules as the public image: options alone go to the server, root becomes redis.
set -eu
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . \! -user redis -exec chown redis '{}' +
  exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
if [ "$(umask)" = 0022 ]; then umask 0077; fi
if [ "$1" = redis-server ]; then
  # A container's ports are protected by its network: the compiled-in default of the public image. Options that
  # follow win; a configuration file has to come first.
  shift
  case ${1:-} in
    '' | -*) set -- redis-server --protected-mode no "$@" ;;
    *) config=$1; shift; set -- redis-server "$config" --protected-mode no "$@" ;;
  esac
fi
exec "$@"
