// The lab's bad network: stands before a registry and answers as registries and proxies do that have something wrong.
//
//	faults ADDRESS refuse STATUS          every request is refused with that HTTP status, with a problem as registries word it
//	faults ADDRESS hang                   connections are taken and nothing is ever answered
//	faults ADDRESS digest UPSTREAM        the registry UPSTREAM (http://…), with other bytes in every manifest that is asked for by its digest
//	faults ADDRESS proxy UPSTREAM LOGIN   an HTTP proxy that lets those through that say LOGIN (name:password), and knows
//	                                      one host, registry.lab.test, which is UPSTREAM; others have it refused
//
// It tells each request on its standard output, so that a row can say who asked for what.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// The one host that the proxy knows.
const host = "registry.lab.test"

func main() {
	log.SetOutput(os.Stdout)
	if len(os.Args) < 3 {
		log.Fatal("usage: faults ADDRESS refuse STATUS | hang | digest UPSTREAM | proxy UPSTREAM LOGIN")
	}
	handler, err := choose(os.Args[2], os.Args[3:])
	if err != nil {
		log.Fatalf("reading what to do: %v", err)
	}
	told := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s%s", r.Method, r.Host, r.URL.RequestURI())
		handler.ServeHTTP(w, r)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], told))
}

func choose(what string, rest []string) (http.Handler, error) {
	switch {
	case what == "refuse" && len(rest) == 1:
		status, err := strconv.Atoi(rest[0])
		return refuse(status), err
	case what == "hang" && len(rest) == 0:
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil
	case what == "digest" && len(rest) == 1:
		upstream, err := url.Parse(rest[0])
		return spoil(upstream), err
	case what == "proxy" && len(rest) == 2:
		upstream, err := url.Parse(rest[0])
		return proxy(upstream, rest[1]), err
	}
	return nil, fmt.Errorf("%q with %d arguments is nothing that can be done", what, len(rest))
}

func refuse(status int) http.Handler {
	codes := map[int]string{http.StatusForbidden: "DENIED", http.StatusTooManyRequests: "TOOMANYREQUESTS"}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, codes[status], strings.ToLower(http.StatusText(status)))
	})
}

// spoil passes everything on, and changes manifests that are asked for by their digest: white space more, so that they
// read the same and have another digest.
func spoil(upstream *url.URL) http.Handler {
	through := httputil.NewSingleHostReverseProxy(upstream)
	through.ModifyResponse = func(response *http.Response) error {
		if !strings.Contains(response.Request.URL.Path, "/manifests/sha256:") || response.StatusCode != http.StatusOK {
			return nil
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if response.Request.Method != http.MethodHead {
			body = append(body, '\n')
			response.Header.Set("Content-Length", strconv.Itoa(len(body)))
			response.ContentLength = int64(len(body))
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	return through
}

// proxy forwards requests for plain HTTP. CONNECT, which is for TLS, leads nowhere, as nothing here has TLS.
func proxy(upstream *url.URL, login string) http.Handler {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
	through := httputil.NewSingleHostReverseProxy(upstream)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Proxy-Authorization") != want:
			w.Header().Set("Proxy-Authenticate", `Basic realm="lab"`)
			http.Error(w, "the proxy wants a name and a password", http.StatusProxyAuthRequired)
		case r.Method == http.MethodConnect || r.URL.Hostname() != host:
			http.Error(w, "the proxy does not let anybody go there", http.StatusForbidden)
		default:
			r.Header.Del("Proxy-Authorization")
			r.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
			through.ServeHTTP(w, r)
		}
	})
}
