#!/usr/bin/env bash
# Prepares PGDATA at the first start and runs PostgreSQL, by the same rules as the public image: POSTGRES_PASSWORD,
# _USER, _DB (each also as _FILE), POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, /docker-entrypoint-initdb.d.
set -euo pipefail

say() { echo "docker-entrypoint: $*" >&2; }

# setting NAME [DEFAULT]: the variable NAME from itself or from the file that NAME_FILE names.
setting() {
  local name=$1 file=${1}_FILE value=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then say "error: both $name and $file are set"; exit 1; fi
  if [ -n "${!name:-}" ]; then value=${!name}; elif [ -n "${!file:-}" ]; then value=$(<"${!file}"); fi
  export "$name"="$value"
  unset "$file"
}

# Runs the scripts of the folder against the server that listens on the socket alone.
init_scripts() {
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) if [ -x "$script" ]; then say "running $script"; "$script"; else say "sourcing $script"; . "$script"; fi ;;
      *.sql) say "running $script"; sql -f "$script" ;;
      *.sql.gz) say "running $script"; gunzip -c "$script" | sql ;;
      *.sql.xz) say "running $script"; xz -dc "$script" | sql ;;
      *.sql.zst) say "running $script"; zstd -dc "$script" | sql ;;
      '/docker-entrypoint-initdb.d/*') ;;
      *) say "ignoring $script" ;;
    esac
  done
}

sql() {
  PGHOST='' PGHOSTADDR='' PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD} \
    psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password --dbname "${DATABASE:-$POSTGRES_DB}" "$@"
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" != postgres ]; then exec "$@"; fi
for argument in "$@"; do
  case $argument in -'?' | --help | --describe-config | -V | --version) exec "$@" ;; esac
done

mkdir -p "$PGDATA"
chmod 00700 "$PGDATA" || :
mkdir -p /var/run/postgresql && chmod 03775 /var/run/postgresql 2>/dev/null || :
if [ "$(id -u)" = 0 ]; then
  find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
  find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ -s "$PGDATA/PG_VERSION" ]; then
  say 'PGDATA holds a database: nothing to initialise'
  exec "$@"
fi

setting POSTGRES_PASSWORD
setting POSTGRES_USER postgres
setting POSTGRES_DB "$POSTGRES_USER"
setting POSTGRES_INITDB_ARGS
: "${POSTGRES_HOST_AUTH_METHOD:=}"
if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
  say 'error: POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) is not set; POSTGRES_HOST_AUTH_METHOD=trust does without'
  exit 1
fi

# initdb wants a name for the user it runs as; a uid without one gets it from libnss_wrapper.
if ! getent passwd "$(id -u)" >/dev/null; then
  wrapper=$(ls /usr/lib/*/libnss_wrapper.so)
  NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
  export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
  echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
fi
eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"
if [ "${LD_PRELOAD:-}" = "${wrapper:-none}" ]; then
  rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
  unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
fi

method=$POSTGRES_HOST_AUTH_METHOD
if [ -z "$method" ]; then method=$(postgres -C password_encryption "${@:2}"); fi
printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

export PGPASSWORD=$POSTGRES_PASSWORD
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -w start -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")" >&2
if [ "$POSTGRES_DB" != postgres ] &&
  [ -z "$(DATABASE=postgres sql --tuples-only --set db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'db'")" ]; then
  DATABASE=postgres sql --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";' >&2
fi
init_scripts
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop >&2
unset PGPASSWORD
say 'initialised; starting'
exec "$@"
