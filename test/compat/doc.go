// Package compat drives berthd with genuine clients: the docker CLI and its builder buildx, built from the modules
// clients and buildx below this folder, the Go SDK moby/moby/client, testcontainers-go in the module containers, and
// dockerode and testcontainers of Node.js in the folder node. What they do against Docker they must do here, unchanged.
// One daemon serves most tests; those that look at or clean up everything have one of their own. The tests TestGolden…
// compare answers, events and lists with those that were recorded of a genuine Docker, see testdata/README.md.
package compat
