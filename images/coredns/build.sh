#!/usr/bin/env bash
# CoreDNS, compiled from its Go module, with all of its plugins but four, whose clients of clouds and of tracing would be
# most of what is compiled.
source images/lib.sh
version=$E2E_VERSION_COREDNS
cd "$E2E_WORK"
go_module_beside_kubernetes coredns "github.com/coredns/coredns@$version"
{
  printf 'package main\n\nimport (\n\t"github.com/coredns/coredns/coremain"\n'
  # Lines of `name:package`, where a package of CoreDNS itself is named by its last part.
  sed -nE 's/^([a-z0-9_]+):(.+)$/\1 \2/p' "$(go_source "github.com/coredns/coredns@$version")/plugin.cfg" |
    while read -r plugin package; do
      case $plugin in route53 | azure | clouddns | trace) continue ;; esac
      case $package in */*) ;; *) package=github.com/coredns/coredns/plugin/$package ;; esac
      printf '\t_ "%s"\n' "$package"
    done
  printf ')\n\nfunc main() { coremain.Run() }\n'
} >main.go
go_programs programs '' .
mkdir -p "$E2E_OUT/bin"
mv programs/coredns "$E2E_OUT/bin/coredns"
